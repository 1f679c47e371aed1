package service

import (
	"slices"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/fusefs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Guests stay open between two questions, so that who browses one does not wait for its file systems each
// time. They and their open volumes are few, and let go when nobody asked for a while, and when their vault is
// closed. What somebody gave keys for waits longer: who types a passphrase again and again writes it down.
const (
	openGuests   = 8
	openVolumes  = 4        // of all of them
	volumeMemory = 64 << 20 // bytes, of each volume that is open
	idleGuest    = time.Minute
	idleUnlocked = 10 * time.Minute
)

// guests are those that are open. Safe for concurrent use.
type guests struct {
	shelf   *guestfs.Shelf
	formats []tree.Format // nil: all

	mu     sync.Mutex // guards what follows, never held while a guest is read
	open   map[guestKey]*guest
	vaults map[*blockstore.Vault]bool // that tell when they are closed
	sweep  *time.Timer                // nil while none is open
}

// guestKey tells guests apart. A vault that is opened again is another.
type guestKey struct {
	vault  *blockstore.Vault
	point  blockstore.PointID
	caller string // who gave the keys of its volumes; "": they are locked
}

// guest is the guest of a point while it is open.
type guest struct {
	*guestfs.Guest
	point   *blockstore.Point
	key     guestKey
	secrets [][]byte      // that open its volumes
	keys    *guestfs.Keys // made of them
	users   int           // guarded by guests.mu
	used    time.Time     // likewise
	gone    bool          // likewise: nobody finds it any more
}

// take returns the guest of a point for use until it is given back: that which a caller unlocked, if it is open.
func (gs *guests) take(v *blockstore.Vault, p *blockstore.Point, caller string) *guest {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	g := gs.open[guestKey{v, p.ID, caller}]
	if g == nil {
		g = gs.open[guestKey{v, p.ID, ""}]
	}
	if g == nil {
		g = &guest{point: p, key: guestKey{vault: v, point: p.ID}}
		g.Guest, g.keys = gs.openWith(g, nil)
		gs.addLocked(g)
	}
	g.users++
	return g
}

// openWith opens the guest of a point anew. Nothing is read by that.
func (gs *guests) openWith(g *guest, secrets [][]byte) (*guestfs.Guest, *guestfs.Keys) {
	o := guestfs.Options{Memory: volumeMemory, Shelf: gs.shelf, Formats: gs.formats}
	if secrets != nil {
		o.Keys = guestfs.NewKeys(secrets...)
	}
	return fusefs.OpenGuest(fusefs.FromVault(g.key.vault), g.point, o), o.Keys
}

// keep makes an open guest that which a caller gets from now on.
func (gs *guests) keep(was *guest, caller string, now *guestfs.Guest, secrets [][]byte, keys *guestfs.Keys) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	g := &guest{Guest: now, point: was.point, key: guestKey{was.key.vault, was.key.point, caller}, secrets: secrets, keys: keys, used: time.Now()}
	if old := gs.open[g.key]; old != nil {
		gs.removeLocked(old)
	}
	gs.addLocked(g)
}

// unlocked are the keys of what a caller unlocked at points of some machines, which are named by name or id;
// nil: nothing. That is a use.
func (gs *guests) unlocked(v *blockstore.Vault, caller string, machines ...string) *guestfs.Keys {
	return guestfs.Found(gs.keysOf(v, caller, machines)...)
}

func (gs *guests) keysOf(v *blockstore.Vault, caller string, machines []string) (keys []*guestfs.Keys) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	for _, g := range gs.open {
		if caller != "" && g.key.vault == v && g.key.caller == caller && g.keys != nil &&
			(slices.Contains(machines, g.point.MachineName) || slices.Contains(machines, string(g.point.Machine))) {
			g.used = time.Now()
			keys = append(keys, g.keys)
		}
	}
	return keys
}

func (gs *guests) addLocked(g *guest) {
	if gs.open == nil {
		gs.open, gs.vaults = map[guestKey]*guest{}, map[*blockstore.Vault]bool{}
	}
	gs.open[g.key] = g
	if v := g.key.vault; !gs.vaults[v] {
		gs.vaults[v] = true
		v.AtClose(func() { gs.leave(v) })
	}
}

// give ends a use.
func (gs *guests) give(g *guest) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	g.users--
	g.used = time.Now()
	if g.gone && g.users == 0 {
		gs.shelf.Forget(g.Guest)
	}
	gs.dropLocked(g.used)
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
		gs.shelf.Forget(g.Guest)
	}
}

// dropLocked lets go of guests that were not used for long by now, and of the least recently used ones that are too
// many; not of those in use. It looks again later while any is open.
func (gs *guests) dropLocked(now time.Time) {
	for _, g := range gs.open {
		if g.users == 0 && now.Sub(g.used) >= g.idle() {
			gs.removeLocked(g)
		}
	}
	for len(gs.open) > openGuests {
		var oldest *guest
		for _, g := range gs.open {
			if g.users == 0 && (oldest == nil || g.used.Before(oldest.used)) {
				oldest = g
			}
		}
		if oldest == nil {
			break
		}
		gs.removeLocked(oldest)
	}
	if len(gs.open) > 0 && gs.sweep == nil {
		gs.sweep = time.AfterFunc(idleGuest/4, gs.swept)
	}
}

func (g *guest) idle() time.Duration {
	if g.key.caller != "" {
		return idleUnlocked
	}
	return idleGuest
}

func (gs *guests) swept() {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	gs.sweep = nil
	gs.dropLocked(time.Now())
}
