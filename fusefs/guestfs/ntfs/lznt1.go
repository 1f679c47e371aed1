package ntfs

import "errors"

// lzChunk is what each chunk of LZNT1 decompresses to.
const lzChunk = 4096

var (
	errChunkCut  = errors.New("a compressed chunk is longer than what is there")
	errChunkLong = errors.New("a compressed chunk holds more than 4096 bytes")
	errChunkBack = errors.New("a compressed chunk refers to what is before its beginning")
)

// lznt1 decompresses src into dst ([MS-XCA] 2.5): chunks of 4096 bytes, each
// with a header of two bytes that has its length and whether it is compressed.
// Chunks that are not there, and the rest of short ones, are zeros.
func lznt1(dst, src []byte) error {
	for len(dst) > 0 && len(src) >= 2 {
		header := le.Uint16(src)
		if header == 0 {
			break
		}
		n := int(header&0xFFF) + 1
		if src = src[2:]; n > len(src) {
			return errChunkCut
		}
		out := dst[:min(lzChunk, len(dst))]
		done := 0
		if header&0x8000 == 0 {
			done = copy(out, src[:n])
		} else {
			var err error
			if done, err = lzChunkInto(out, src[:n]); err != nil {
				return err
			}
		}
		clear(out[done:])
		src, dst = src[n:], dst[len(out):]
	}
	clear(dst)
	return nil
}

// lzChunkInto decompresses one chunk and returns how much it was: a byte of flags,
// then for each of its bits a literal byte, or a word with a distance back and a
// length, which share its bits by how far into the chunk it is.
func lzChunkInto(out, src []byte) (int, error) {
	done := 0
	lengthBits := 12
	for len(src) > 0 {
		flags := src[0]
		src = src[1:]
		for bit := 0; bit < 8 && len(src) > 0; bit++ {
			if flags>>bit&1 == 0 {
				if done == len(out) {
					return 0, errChunkLong
				}
				out[done] = src[0]
				src, done = src[1:], done+1
				continue
			}
			if len(src) < 2 {
				return 0, errChunkCut
			}
			for lengthBits > 4 && done > 1<<(16-lengthBits) {
				lengthBits--
			}
			word := int(le.Uint16(src))
			src = src[2:]
			back, n := word>>lengthBits+1, word&(1<<lengthBits-1)+3
			if back > done {
				return 0, errChunkBack
			}
			if n > len(out)-done {
				return 0, errChunkLong
			}
			if back >= n {
				copy(out[done:done+n], out[done-back:])
			} else { // it repeats what it writes
				for i := done; i < done+n; i++ {
					out[i] = out[i-back]
				}
			}
			done += n
		}
	}
	return done, nil
}
