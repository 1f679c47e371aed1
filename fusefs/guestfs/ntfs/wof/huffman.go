package wof

const (
	maxCode   = 16  // bits of a code
	maxSymbol = 512 // symbols of a code
	quickBits = 10  // codes up to so long are found at once
)

// huffman decodes one canonical Huffman code: of codes of one length those of lower
// symbols come first, and all of them before those of greater length.
type huffman struct {
	quick  [1 << quickBits]uint16 // by the next bits: symbol and length (symbol<<5 | length); 0: none so short
	limit  [maxCode + 1]uint32    // beyond the last code of each length, in 16 bits
	offset [maxCode + 1]int32     // of a code of that length, to its place in sorted
	sorted [maxSymbol]uint16      // symbols by code
}

// set makes the code of lengths by symbol, 0 for those that have none. A code that leaves
// some bits unused is taken; these are errors where they are met.
func (h *huffman) set(lengths []byte) error {
	var count [maxCode + 1]uint32
	for _, n := range lengths {
		if n > maxCode {
			return errCode
		}
		count[n]++
	}
	count[0] = 0
	var first [maxCode + 1]uint32 // the first code of each length
	var place [maxCode + 1]uint32 // of its symbol in sorted
	code, at := uint32(0), uint32(0)
	for n := 1; n <= maxCode; n++ {
		code <<= 1
		first[n], place[n] = code, at
		h.offset[n] = int32(at) - int32(code)
		code, at = code+count[n], at+count[n]
		if code > 1<<n {
			return errCode
		}
		h.limit[n] = code << (maxCode - n)
	}
	clear(h.quick[:])
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		h.sorted[place[n]] = uint16(symbol)
		place[n]++
		if n <= quickBits {
			begin := first[n] << (quickBits - n)
			fill(h.quick[begin:begin+1<<(quickBits-n)], uint16(symbol)<<5|uint16(n))
		}
		first[n]++
	}
	return nil
}

func fill(b []uint16, v uint16) {
	for i := range b {
		b[i] = v
	}
}

// next returns the next symbol, or one of maxSymbol for bits that are no code. 16 bits
// must be there.
func (h *huffman) next(r *bitReader) int {
	if e := h.quick[r.bits>>(64-quickBits)]; e != 0 {
		n := int(e & 31)
		r.bits <<= n
		r.n -= n
		return int(e >> 5)
	}
	return h.long(r)
}

func (h *huffman) long(r *bitReader) int {
	code := uint32(r.bits >> (64 - maxCode))
	for n := quickBits + 1; n <= maxCode; n++ {
		if code < h.limit[n] {
			r.bits <<= n
			r.n -= n
			return int(h.sorted[int32(code>>(maxCode-n))+h.offset[n]])
		}
	}
	return maxSymbol
}
