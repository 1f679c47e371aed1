package luks

import (
	"crypto/subtle"
	"encoding/binary"
	"hash"
)

// merge joins what the anti-forensic splitter made of a key: each stripe but the last
// is mixed in, and the whole diffused block by block of the hash.
func merge(b []byte, key, stripes int, h func() hash.Hash) []byte {
	d := make([]byte, key)
	for i := range stripes {
		subtle.XORBytes(d, d, b[i*key:(i+1)*key])
		if i < stripes-1 {
			diffuse(d, h())
		}
	}
	return d
}

func diffuse(d []byte, h hash.Hash) {
	size := h.Size()
	for i := 0; i*size < len(d); i++ {
		block := d[i*size : min((i+1)*size, len(d))]
		h.Reset()
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(i))
		h.Write(n[:])
		h.Write(block)
		copy(block, h.Sum(nil))
	}
}
