package squashfs

import "errors"

var errLZO = errors.New("it is not LZO1X")

// lzo is a stream of LZO1X while it is decompressed.
type lzo struct {
	dst, src []byte
	in, out  int
}

// unlzo decompresses LZO1X. A first byte of more than 17 is a run of literals;
// then instructions follow whose two lowest bits count the literals after them.
func unlzo(dst, src []byte) (int, error) {
	z := &lzo{dst: dst, src: src}
	const afterRun = 4 // what state is after a run of literals
	state := 0
	if len(src) > 0 && src[0] > 17 {
		z.in = 1
		if !z.literals(int(src[0]) - 17) {
			return 0, errLZO
		}
		state = min(int(src[0])-17, afterRun)
	}
	for {
		t, ok := z.next()
		if !ok {
			return 0, errLZO
		}
		if t < 16 && state == 0 {
			if !z.literals(3 + z.length(t, 15)) {
				return 0, errLZO
			}
			state = afterRun
			continue
		}
		length, distance, after, ok := z.match(t, state == afterRun)
		switch {
		case !ok:
			return 0, errLZO
		case distance == 0: // the end
			return z.out, nil
		case !z.copy(length, distance) || !z.literals(after):
			return 0, errLZO
		}
		state = after
	}
}

func (z *lzo) next() (int, bool) {
	if z.in >= len(z.src) {
		return 0, false
	}
	z.in++
	return int(z.src[z.in-1]), true
}

// length is what lies in the low bits of an instruction; where those are zero, it
// goes on: 255 for each zero byte, and the next byte.
func (z *lzo) length(low, mask int) int {
	if low &= mask; low != 0 {
		return low
	}
	for n := mask; ; n += 255 {
		b, ok := z.next()
		if !ok {
			return -1 << 30 // refused by whoever copies it
		}
		if b != 0 {
			return n + b
		}
	}
}

// match decodes an instruction that copies what came before. Its distance is 0 at the end.
func (z *lzo) match(t int, afterRun bool) (length, distance, after int, ok bool) {
	if t < 16 || t >= 64 {
		high, ok := z.next()
		switch {
		case t >= 64:
			return t>>5 + 1, high<<3 + t>>2&7 + 1, t & 3, ok
		case afterRun:
			return 3, high<<2 + t>>2 + 2049, t & 3, ok
		}
		return 2, high<<2 + t>>2 + 1, t & 3, ok
	}
	if t >= 32 {
		length = 2 + z.length(t, 31)
	} else {
		length = 2 + z.length(t, 7)
	}
	if z.in+2 > len(z.src) {
		return 0, 0, 0, false
	}
	pair := int(le.Uint16(z.src[z.in:]))
	z.in += 2
	if t >= 32 {
		return length, pair>>2 + 1, pair & 3, true
	}
	far := t&8<<11 + pair>>2
	if far == 0 {
		return 0, 0, 0, true
	}
	return length, far + 1<<14, pair & 3, true
}

func (z *lzo) literals(n int) bool {
	if n < 0 || n > len(z.src)-z.in || n > len(z.dst)-z.out {
		return false
	}
	copy(z.dst[z.out:], z.src[z.in:z.in+n])
	z.in, z.out = z.in+n, z.out+n
	return true
}

// copy may overlap what it writes: a short distance repeats.
func (z *lzo) copy(n, distance int) bool {
	if n < 0 || distance > z.out || n > len(z.dst)-z.out {
		return false
	}
	for range n {
		z.dst[z.out] = z.dst[z.out-distance]
		z.out++
	}
	return true
}
