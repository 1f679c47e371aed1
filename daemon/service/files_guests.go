package service

import (
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/fusefs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

// Guests stay open between two questions, so that who browses one does not wait for its file systems each
// time. They are few, and let go when nobody asked for a while, and when their vault is closed.
const (
	openGuests   = 8
	volumeMemory = 64 << 20 // bytes, of each volume that is open
	idleGuest    = time.Minute
)

// guests are those that are open. Safe for concurrent use.
type guests struct {
	mu     sync.Mutex // guards what follows, never held while a guest is read
	open   map[guestKey]*guest
	vaults map[*blockstore.Vault]bool // that tell when they are closed
	sweep  *time.Timer                // nil while none is open
}

// guestKey tells guests apart. A vault that is opened again is another.
type guestKey struct {
	vault *blockstore.Vault
	point blockstore.PointID
}

// guest is the guest of a point while it is open.
type guest struct {
	*guestfs.Guest
	point *blockstore.Point
	key   guestKey
	users int       // guarded by guests.mu
	used  time.Time // likewise
	gone  bool      // likewise: nobody finds it any more
}

// take returns the guest of a point for use until it is given back.
func (gs *guests) take(v *blockstore.Vault, p *blockstore.Point) *guest {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	key := guestKey{v, p.ID}
	g := gs.open[key]
	if g == nil {
		g = &guest{point: p, key: key, Guest: fusefs.OpenGuest(fusefs.FromVault(v), p, guestfs.Options{Memory: volumeMemory})}
		if gs.open == nil {
			gs.open, gs.vaults = map[guestKey]*guest{}, map[*blockstore.Vault]bool{}
		}
		gs.open[key] = g
		if !gs.vaults[v] {
			gs.vaults[v] = true
			v.AtClose(func() { gs.leave(v) })
		}
	}
	g.users++
	return g
}

// give ends a use.
func (gs *guests) give(g *guest) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	g.users--
	g.used = time.Now()
	gs.dropLocked(time.Time{})
}

// forget has who asks next get the guest opened anew.
func (gs *guests) forget(g *guest) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	gs.removeLocked(g)
}

// leave lets go of the guests of a vault that is closed.
func (gs *guests) leave(v *blockstore.Vault) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	delete(gs.vaults, v)
	for key, g := range gs.open {
		if key.vault == v {
			gs.removeLocked(g)
		}
	}
}

func (gs *guests) removeLocked(g *guest) {
	if !g.gone {
		g.gone = true
		delete(gs.open, g.key)
	}
}

// dropLocked lets go of guests that were not used since a time, and of the least recently used ones that are too
// many; not of those in use. It looks again later while any is open.
func (gs *guests) dropLocked(since time.Time) {
	for {
		var oldest *guest
		for _, g := range gs.open {
			if g.users == 0 && (oldest == nil || g.used.Before(oldest.used)) {
				oldest = g
			}
		}
		if oldest == nil || len(gs.open) <= openGuests && !oldest.used.Before(since) {
			break
		}
		gs.removeLocked(oldest)
	}
	if len(gs.open) > 0 && gs.sweep == nil {
		gs.sweep = time.AfterFunc(idleGuest/4, gs.swept)
	}
}

func (gs *guests) swept() {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	gs.sweep = nil
	gs.dropLocked(time.Now().Add(-idleGuest))
}
