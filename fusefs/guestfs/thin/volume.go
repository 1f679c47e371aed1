package thin

import (
	"errors"
	"fmt"
	"io"
)

// Volume is a thin volume or snapshot.
type Volume struct {
	p    *Pool
	root int64
	size int64
}

// Volume finds a volume by its number in the pool; size is what its group says, in
// bytes. One that was made and never written to may not be in the last state that was
// committed: an error says so.
func (p *Pool) Volume(number uint64, size int64) (*Volume, error) {
	root, found, _, err := p.find(p.mappings, number)
	if err != nil {
		return nil, err
	}
	if !found || root > maxBlocks {
		return nil, fmt.Errorf("its pool has no volume %d", number)
	}
	return &Volume{p, int64(root), size}, nil
}

// Size is that of the volume, in bytes.
func (v *Volume) Size() int64 { return v.size }

// ReadAt reads as io.ReaderAt does.
func (v *Volume) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at offset %d", off)
	}
	done := 0
	for done < len(b) {
		if off >= v.size {
			return done, io.EOF
		}
		n, err := v.piece(b[done:int(min(int64(len(b)), int64(done)+v.size-off))], off)
		done, off = done+n, off+int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// piece reads at least a byte, to the end of a block or a hole at most.
func (v *Volume) piece(b []byte, off int64) (int, error) {
	block, within := off/v.p.block, off%v.p.block
	value, found, next, err := v.p.find(v.root, uint64(block))
	if err != nil {
		return 0, err
	}
	if !found {
		if end := uint64(v.size / v.p.block); next <= end && next > uint64(block) {
			b = b[:min(int64(len(b)), int64(next)*v.p.block-off)]
		}
		clear(b)
		return len(b), nil
	}
	// The low 24 bits are the time at which the block was shared.
	at := int64(value >> 24)
	if at > v.p.dataSize/v.p.block {
		return 0, &CorruptError{v.root * blockSize, fmt.Sprintf("block %d of the volume would lie in block %d of %d bytes of data", block, at, v.p.dataSize)}
	}
	b = b[:min(int64(len(b)), v.p.block-within)]
	n, err := v.p.data.ReadAt(b, at*v.p.block+within)
	if n < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return n, fmt.Errorf("data of thin volumes at %d: %w", at*v.p.block+within, err)
	}
	return n, nil
}
