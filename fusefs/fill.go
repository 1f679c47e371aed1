package fusefs

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/hanwen/go-fuse/v2/fs"
)

// A block is decoded and verified whole, also for a page of it: 40 µs. When a second
// page of a block is asked for, all of it is given to the kernel, which then answers for
// the others without us. Not at the first: whoever jumps about never comes back, and
// would pay for pages that nobody reads.
//
// That happens after the reply, by a goroutine of its own: the kernel waits for pages
// that it asked for, and those may be ones that wait for us.
const (
	fillSlots   = 1 << 16 // blocks of a disk that are remembered: 4 GiB of 64 KiB
	fillWaiting = 16      // blocks that wait for the kernel to take them; others are let go
	fillSmall   = 8       // reads of at most this part of a block are small
)

// fillsAsked remembers the blocks of a disk of which a part was asked for. It forgets
// those that are far away. The zero value is empty.
type fillsAsked struct {
	once  sync.Once
	slots []atomic.Uint64 // index: block modulo its length; value: twice the number of block + 1, and one more when it was filled
}

// second tells whether this is the second time that a part of a block is asked for.
func (a *fillsAsked) second(block int64) bool {
	a.once.Do(func() { a.slots = make([]atomic.Uint64, fillSlots) })
	slot, first := &a.slots[block%fillSlots], uint64(block+1)<<1
	switch before := slot.Load(); before {
	case first:
		return slot.CompareAndSwap(first, first|1)
	case first | 1:
		return false
	default:
		slot.CompareAndSwap(before, first)
		return false
	}
}

// fill is a block for the kernel's cache.
type fill struct {
	node *fs.Inode
	off  int64
	data []byte
	buf  *[]byte // that data lies in
}

// filler gives blocks to the kernel.
type filler struct {
	blockSize int64
	waiting   chan fill
	buffers   sync.Pool
}

func newFiller(blockSize int) *filler {
	f := &filler{blockSize: int64(blockSize), waiting: make(chan fill, fillWaiting)}
	f.buffers.New = func() any { b := make([]byte, blockSize); return &b }
	return f
}

// run ends with ctx. That the kernel does not take a block harms nobody.
func (f *filler) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case next := <-f.waiting:
			next.node.WriteCache(next.off, next.data)
			f.buffers.Put(next.buf)
		}
	}
}

// read fills dest, which lies within one block, and gives the whole block to the
// kernel. It returns false when it cannot: dest is to be read alone then.
func (f *filler) read(node *diskNode, disk Disk, dest []byte, off int64) bool {
	buf := f.buffers.Get().(*[]byte)
	base := off / f.blockSize * f.blockSize
	data := (*buf)[:min(f.blockSize, disk.Size()-base)]
	if n, _ := disk.ReadAt(data, base); n < len(data) {
		f.buffers.Put(buf)
		return false
	}
	copy(dest, data[off-base:])
	select {
	case f.waiting <- fill{&node.Inode, base, data, buf}:
	default:
		f.buffers.Put(buf)
	}
	return true
}

// wants tells whether a read of n bytes at off is the second small one of a block.
func (f *filler) wants(asked *fillsAsked, off int64, n int) bool {
	if int64(n) > f.blockSize/fillSmall || off%f.blockSize+int64(n) > f.blockSize {
		return false
	}
	return asked.second(off / f.blockSize)
}
