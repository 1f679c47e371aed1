package raid

// times multiplies in the field of 256 elements whose polynomial is
// x^8 + x^4 + x^3 + x^2 + 1, as RAID 6 has it.
func times(a, b byte) byte {
	var r byte
	for ; b > 0; b >>= 1 {
		if b&1 == 1 {
			r ^= a
		}
		carry := a & 0x80
		if a <<= 1; carry != 0 {
			a ^= 0x1d
		}
	}
	return r
}

// invert returns the element that gives 1 with a, which is not 0: a to the power 254.
func invert(a byte) byte {
	r := byte(1)
	for range 254 {
		r = times(r, a)
	}
	return r
}

// addTimes adds b times f to p.
func addTimes(p, b []byte, f byte) {
	var table [256]byte
	for i := range table {
		table[i] = times(byte(i), f)
	}
	for i, c := range b {
		p[i] ^= table[c]
	}
}
