package thin

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
)

// Sizes and places, in bytes.
const (
	blockSize = 4096 // of metadata
	nodeHead  = 32

	superMagic   = 27022010
	superVersion = 2
	superTo      = 364 // fields end here

	minData = 64 << 10 // of a block of data
	maxData = 1 << 30

	maxDepth  = 16
	maxNodes  = 1024 // in memory
	maxBlocks = 1 << 40
)

// What the checksum of a block is mixed with, by what it holds.
const (
	saltSuper = 160774
	saltNode  = 121107
)

// CorruptError says what is wrong with the metadata, and where.
type CorruptError struct {
	Off  int64 // in the device of metadata, bytes
	What string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("metadata of thin volumes at %d: %s", e.Off, e.What)
}

// Pool is an open pool. Safe from several goroutines when its devices are.
type Pool struct {
	metadata     io.ReaderAt
	metadataSize int64
	data         io.ReaderAt
	dataSize     int64
	block        int64 // of data, bytes
	mappings     int64 // root of the tree of trees, by block
	flags        uint32

	mu    sync.Mutex
	nodes map[int64]*node
}

// Open reads the superblock. Errors: a *CorruptError, those of metadata.
func Open(metadata io.ReaderAt, metadataSize int64, data io.ReaderAt, dataSize int64) (*Pool, error) {
	p := &Pool{metadata: metadata, metadataSize: metadataSize, data: data, dataSize: dataSize, nodes: map[int64]*node{}}
	b, err := p.read(0, saltSuper)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if le.Uint64(b[32:]) != superMagic {
		return nil, &CorruptError{32, "it is no superblock"}
	}
	if v := le.Uint32(b[40:]); v < 1 || v > superVersion {
		return nil, fmt.Errorf("metadata of thin volumes has version %d, which is not known", v)
	}
	if f := le.Uint32(b[360:]); f != 0 {
		return nil, fmt.Errorf("metadata of thin volumes has features %#x, which are not known", f)
	}
	p.flags, p.mappings = le.Uint32(b[4:]), int64(le.Uint64(b[320:]))
	p.block = int64(le.Uint32(b[336:])) * 512
	if p.block < minData || p.block > maxData || p.block%minData != 0 {
		return nil, &CorruptError{336, fmt.Sprintf("blocks of %d bytes are not possible", p.block)}
	}
	if n := int64(le.Uint32(b[340:])) * 512; n != blockSize {
		return nil, &CorruptError{340, fmt.Sprintf("blocks of metadata of %d bytes are not possible", n)}
	}
	return p, nil
}

// BlockSize is that of the data, in bytes.
func (p *Pool) BlockSize() int64 { return p.block }

// NeedsCheck tells whether the pool says of itself that it may be damaged.
func (p *Pool) NeedsCheck() bool { return p.flags&1 != 0 }

// read returns a block of metadata whose checksum and number are right.
func (p *Pool) read(n int64, salt uint32) ([]byte, error) {
	if n < 0 || n > p.metadataSize/blockSize-1 {
		return nil, &CorruptError{0, fmt.Sprintf("it names block %d of %d", n, p.metadataSize/blockSize)}
	}
	b := make([]byte, blockSize)
	if got, err := p.metadata.ReadAt(b, n*blockSize); got < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("metadata of thin volumes at %d: %w", n*blockSize, err)
	}
	le := binary.LittleEndian
	if sum(b, salt) != le.Uint32(b) {
		return nil, &CorruptError{n * blockSize, "its checksum does not match"}
	}
	if at := le.Uint64(b[8:]); at != uint64(n) {
		return nil, &CorruptError{n * blockSize, fmt.Sprintf("it says that it is block %d", at)}
	}
	return b, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is the checksum of a block: CRC-32C of all behind it, nothing inverted at the end.
func sum(b []byte, salt uint32) uint32 { return ^crc32.Checksum(b[4:], castagnoli) ^ salt }
