package luks

import (
	"bytes"
	"testing"
)

func BenchmarkRead(b *testing.B) {
	for _, cipher := range []string{"aes-xts-plain64", "aes-cbc-essiv:sha256"} {
		b.Run(cipher, func(b *testing.B) {
			key := 64
			if cipher[4] == 'c' {
				key = 32
			}
			h := &Header{r: bytes.NewReader(make([]byte, 8*mib)), data: segment{0, 8 * mib, cipher, 512, 0}}
			v, err := h.Open(VolumeKey{random(key)})
			if err != nil {
				b.Fatal(err)
			}
			p := make([]byte, 8*mib)
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				if _, err := v.ReadAt(p, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
