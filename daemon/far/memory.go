package far

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// sharing is a daemon that writes into memory which this process shares with it: that takes half of the time of
// what comes over a socket.
type sharing interface {
	ShareMemory(ctx context.Context, memory *os.File) (name string, release func(), err error)
	DiskInto(ctx context.Context, vault, machine, point, disk string, offset, length int64, memory string, at int64) error
}

// AtOnce is how many may well read a vault at once, for nothing but its bytes.
const AtOnce = 6

// Shared memory is some slots of which each takes one range.
const (
	slotSize  = 1 << 20
	slotCount = AtOnce
	// smallest is the least that is worth it, in bytes.
	smallest = 128 << 10
	// shareAgain is after which time sharing is tried again where it failed: a daemon was started again, say.
	shareAgain = 5 * time.Second
)

// memory is shared with a daemon.
type memory struct {
	with    sharing
	name    string
	mapped  []byte
	slots   chan int // those that are free
	release func()
}

// memory returns what is shared; nil: nothing is, and what is read comes over the socket.
func (v *Vault) memory() *memory {
	v.sharing.Lock()
	defer v.sharing.Unlock()
	with, ok := v.from.(sharing)
	if !ok || v.shared != nil || time.Now().Before(v.shareNext) || v.ctx.Err() != nil {
		return v.shared
	}
	m, err := share(v.ctx, with)
	if err != nil {
		v.shareNext = time.Now().Add(shareAgain)
		if errors.As(err, new(*api.Problem)) { // it does not do that, or has no room
			v.shareNext = time.Now().Add(time.Minute)
		}
		return nil
	}
	v.shared = m
	return m
}

func share(ctx context.Context, with sharing) (*memory, error) {
	fd, err := unix.MemfdCreate("holdfast", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "shared memory")
	if err := f.Truncate(slotSize * slotCount); err != nil {
		f.Close()
		return nil, err
	}
	mapped, err := unix.Mmap(fd, 0, slotSize*slotCount, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		f.Close()
		return nil, err
	}
	m := &memory{with: with, mapped: mapped, slots: make(chan int, slotCount)}
	for i := range slotCount {
		m.slots <- i
	}
	if m.name, m.release, err = with.ShareMemory(ctx, f); err != nil {
		return nil, errors.Join(err, unix.Munmap(mapped))
	}
	return m, nil
}

// close waits until nobody uses the memory.
func (m *memory) close() {
	m.release()
	for range slotCount {
		<-m.slots
	}
	unix.Munmap(m.mapped)
}

// unshare gives up a memory that the daemon does not know any more.
func (v *Vault) unshare(m *memory) {
	v.sharing.Lock()
	defer v.sharing.Unlock()
	if v.shared == m {
		v.shared, v.shareNext = nil, time.Now().Add(shareAgain)
		v.ahead.Go(m.close) // as soon as others that use it have seen the same
	}
}

// byMemory has the daemon write a range of d into shared memory, and calls take with it. false: it did not, for whatever
// reason, and what is wrong is told by the other way.
func (d *Disk) byMemory(ctx context.Context, off, length int64, take func([]byte)) bool {
	m := d.v.memory()
	if m == nil {
		return false
	}
	var slot int
	select {
	case slot = <-m.slots:
	case <-ctx.Done():
		return false
	}
	at := int64(slot) * slotSize
	err := m.with.DiskInto(d.v.purposely(ctx), d.v.o.Vault, string(d.point.Machine), string(d.point.ID), d.info.Name, off, length, m.name, at)
	if err == nil {
		take(m.mapped[at : at+length])
	}
	m.slots <- slot
	var p *api.Problem
	if err != nil && (!errors.As(err, &p) || p.Kind == api.KindNoMemory) {
		d.v.unshare(m)
	}
	return err == nil
}
