package btrfs

import "errors"

var errLZO = errors.New("the stream of LZO does not hold together")

// unlzo decompresses what btrfs frames: the length of all, then pieces of a sector
// each, a length before it. A length does not cross the end of a sector.
func unlzo(b []byte, plain, sector int) ([]byte, error) {
	if len(b) < 4 || uint64(le.Uint32(b)) > uint64(len(b)) {
		return nil, errLZO
	}
	b = b[:max(le.Uint32(b), 4)]
	out := make([]byte, 0, plain)
	for at := 4; at < len(b) && len(out) < plain; {
		if left := sector - at%sector; left < 4 {
			at += left
		}
		if at+4 > len(b) {
			break
		}
		n := int64(le.Uint32(b[at:]))
		at += 4
		if n == 0 || n > int64(len(b)-at) {
			return nil, errLZO
		}
		var err error
		if out, err = lzoPiece(out, b[at:at+int(n)], min(len(out)+sector, plain)); err != nil {
			return nil, err
		}
		at += int(n)
	}
	return out, nil
}

// lzo is a stream that is being decompressed: literals and copies of what came before,
// as "LZO stream format as understood by Linux's LZO decompressor" (docs.kernel.org)
// tells it.
type lzo struct {
	in    []byte
	out   []byte
	start int // where this piece begins: nothing before it may be copied
	limit int // of out
	err   error
}

// lzoPiece appends one stream, up to limit bytes in all.
func lzoPiece(out, in []byte, limit int) ([]byte, error) {
	z := lzo{in: in, out: out, start: len(out), limit: limit}
	literals := 0 // that came with the last instruction; 4 stands for more
	if len(in) > 0 && in[0] > 17 {
		literals = min(int(z.byte())-17, 4)
		z.literal(int(in[0]) - 17)
	}
	for z.err == nil {
		code := int(z.byte())
		var distance, length, after int
		switch {
		case code >= 64:
			after, length = code&3, code>>5+1
			distance = int(z.byte())<<3 + code>>2&7 + 1
		case code >= 32:
			length = z.length(code&31, 31) + 2
			pair := z.pair()
			distance, after = pair>>2+1, pair&3
		case code >= 16:
			length = z.length(code&7, 7) + 2
			pair := z.pair()
			distance, after = code&8<<11+pair>>2, pair&3
			if distance == 0 {
				if len(z.in) > 0 {
					z.err = errLZO
				}
				return z.out, z.err
			}
			distance += 16384
		case literals == 0:
			z.literal(z.length(code, 15) + 3)
			literals = 4
			continue
		case literals == 4:
			after, length = code&3, 3
			distance = int(z.byte())<<2 + code>>2 + 2049
		default:
			after, length = code&3, 2
			distance = int(z.byte())<<2 + code>>2 + 1
		}
		z.repeat(distance, length)
		z.literal(after)
		literals = after
	}
	return nil, z.err
}

func (z *lzo) byte() byte {
	if len(z.in) == 0 {
		z.err = errLZO
		return 0
	}
	b := z.in[0]
	z.in = z.in[1:]
	return b
}

func (z *lzo) pair() int {
	low := int(z.byte())
	return low | int(z.byte())<<8
}

// length is n, or where that is zero what the bytes that follow add to most.
func (z *lzo) length(n, most int) int {
	if n > 0 {
		return n
	}
	for z.err == nil {
		b := z.byte()
		if b > 0 {
			return most + int(b)
		}
		if most += 255; most > maxPlain {
			z.err = errLZO
		}
	}
	return 0
}

func (z *lzo) literal(n int) {
	if n > len(z.in) || n > z.limit-len(z.out) {
		z.err = errLZO
	}
	if z.err == nil {
		z.out = append(z.out, z.in[:n]...)
		z.in = z.in[n:]
	}
}

// repeat copies what lies so far back; it may overlap what it makes.
func (z *lzo) repeat(distance, n int) {
	if distance > len(z.out)-z.start || n > z.limit-len(z.out) {
		z.err = errLZO
	}
	if z.err != nil {
		return
	}
	for from := len(z.out) - distance; n > 0; n-- {
		z.out = append(z.out, z.out[from])
		from++
	}
}
