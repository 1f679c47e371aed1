package daemon

import (
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// found remembers disks that clients read, so that a point is not looked for anew for each range. It is safe
// for concurrent use; the zero value is empty.
type found struct {
	mu    sync.Mutex
	disks map[foundKey]foundDisk
}

// foundKey is what a client asked for, in a vault as long as that is open.
type foundKey struct {
	vault                *opened
	machine, point, disk string // as the client named them
}

type foundDisk struct {
	disk  *blockstore.Disk
	until time.Time
}

// A disk is looked for anew after a while, because its point may have been deleted or be the latest no more: after
// sameDisk, or where that takes long in a large vault, so that it is a twentieth of the time at most.
const (
	sameDisk   = 2 * time.Second
	rarelyDisk = 20
	mostDisks  = 64
)

func (f *found) lately(key foundKey) *blockstore.Disk {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d, ok := f.disks[key]; ok && time.Now().Before(d.until) {
		return d.disk
	}
	return nil
}

// looks begins a look for a disk; done is called with what it found.
func (f *found) looks() (done func(foundKey, *blockstore.Disk)) {
	began := time.Now()
	return func(key foundKey, disk *blockstore.Disk) {
		now := time.Now()
		f.mu.Lock()
		defer f.mu.Unlock()
		for k, d := range f.disks {
			if now.After(d.until) || len(f.disks) >= mostDisks {
				delete(f.disks, k)
			}
		}
		if f.disks == nil {
			f.disks = map[foundKey]foundDisk{}
		}
		f.disks[key] = foundDisk{disk, now.Add(max(sameDisk, rarelyDisk*now.Sub(began)))}
	}
}
