package blockstore

import (
	"errors"
	"fmt"
	"os"
	"path"
	"time"
)

// MaxHold is how long a sweep can be held at most.
const MaxHold = 30 * 24 * time.Hour

// ErrHeld reports that nothing may be removed from the vault now.
var ErrHeld = errors.New("the vault is held for copying")

// Hold keeps anything from being removed from a vault until a time: sweeps
// refuse, points stay in the trash, segments are not merged. Whoever may write
// into the vault's folder can make one, beside its owner. The one that lasts
// longest counts.
type Hold struct {
	Until   time.Time `json:"until"`
	Made    time.Time `json:"made"`
	Host    string    `json:"host"`
	Command string    `json:"command,omitempty"`
}

// HoldSweep keeps anything from being removed until a time, which is at most
// MaxHold away. When it returns, no removal is under way any more: on a file system that
// cannot lock a folder, as NFS, none that takes longer than a second.
func (v *Vault) HoldSweep(until time.Time) error {
	now := time.Now()
	if !until.After(now) || until.After(now.Add(MaxHold)) {
		return fmt.Errorf("hold vault %s until %s: that is not within the next %d days", v.dir.Root(), until.UTC().Format(time.RFC3339), int(MaxHold.Hours()/24))
	}
	names, err := v.dir.List(holdsDir)
	if err != nil {
		return err
	}
	number := uint64(1)
	for _, n := range names {
		if i, _, ok := parseNumbered(n); ok {
			number = max(number, i+1)
		}
	}
	h := Hold{Until: until.UTC().Truncate(time.Second), Made: now.UTC().Truncate(time.Second), Host: v.host.Name, Command: path.Base(os.Args[0])}
	for range 3 { // an owner that begins just now may take it for the file of one that died
		err = v.writeRecord(holdKind, path.Join(holdsDir, numbered(number, randomHex(4))), h)
		if !isNotExist(err) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("hold vault %s: %w", v.dir.Root(), err)
	}
	// Who asked before is done when it is our turn.
	done, err := v.dir.Turn(holdsDir)
	if err != nil {
		return fmt.Errorf("hold vault %s: %w", v.dir.Root(), err)
	}
	done()
	if !v.dir.Local() {
		time.Sleep(time.Second)
	}
	return nil
}

// ReleaseSweep ends all holds, and returns how many there were. Those that are
// over count, too.
func (v *Vault) ReleaseSweep() (int, error) {
	names, err := v.dir.List(holdsDir)
	if err != nil {
		return 0, err
	}
	for i, n := range names {
		if err := v.dir.Remove(path.Join(holdsDir, n)); err != nil {
			return i, fmt.Errorf("release vault %s: %w", v.dir.Root(), err)
		}
	}
	return len(names), nil
}

// Held returns the hold that lasts longest past now, nil when there is none.
// One that cannot be read is an error: nobody knows how long it lasts.
func (v *Vault) Held(now time.Time) (*Hold, error) {
	names, err := v.dir.List(holdsDir)
	if err != nil {
		return nil, err
	}
	var longest *Hold
	for _, n := range names {
		var h Hold
		err := v.readRecord(holdKind, path.Join(holdsDir, n), &h)
		if isNotExist(err) {
			continue // released meanwhile
		}
		if err != nil {
			return nil, err
		}
		if h.Until.After(now) && (longest == nil || h.Until.After(longest.Until)) {
			longest = &h
		}
	}
	return longest, nil
}

// removing calls remove, which removes something for good, unless the vault is
// held, or is not this process's any more. A hold waits until it has returned.
func (o *Owner) removing(remove func() error) error {
	done, err := o.dir.Turn(holdsDir)
	if err != nil {
		return err
	}
	defer done()
	if err := o.mayRemove(); err != nil {
		return err
	}
	return remove()
}

// mayRemove refuses while the vault is held, or is not this process's any
// more.
func (o *Owner) mayRemove() error {
	h, err := o.Held(time.Now())
	if err != nil {
		return fmt.Errorf("%w, nobody can tell until when: %w", ErrHeld, err)
	}
	if h != nil {
		return fmt.Errorf("%w by host %s until %s, and nothing is removed before", ErrHeld, h.Host, h.Until.Format(time.RFC3339))
	}
	return o.stillOwner(o.claim)
}
