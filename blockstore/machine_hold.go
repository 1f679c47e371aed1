package blockstore

import (
	"errors"
	"fmt"
	"os"
	"path"
	"time"
)

// ErrMachineHeld reports a machine that is not to be touched now.
var ErrMachineHeld = errors.New("the machine is held")

// MachineHold keeps hands off a machine until a time: no backup of it begins.
// Whoever may write into the vault's folder can make one, beside its owner. The
// one that lasts longest counts.
type MachineHold struct {
	Machine MachineID `json:"machine,omitempty"` // empty: all machines
	Until   time.Time `json:"until"`
	Made    time.Time `json:"made"`
	Host    string    `json:"host"`
	Command string    `json:"command,omitempty"`
}

// HoldMachine keeps hands off a machine, or of all where id is empty, until a
// time, which is at most MaxHold away. A backup that runs goes on; one that
// begins after HoldMachine has returned refuses.
func (v *Vault) HoldMachine(id MachineID, until time.Time) error {
	now := time.Now()
	if !until.After(now) || until.After(now.Add(MaxHold)) {
		return fmt.Errorf("hold a machine until %s: that is not within the next %d days", until.UTC().Format(time.RFC3339), int(MaxHold.Hours()/24))
	}
	names, err := v.dir.List(heldDir)
	if err != nil {
		return err
	}
	number := uint64(1)
	for _, n := range names {
		if i, _, ok := parseNumbered(n); ok {
			number = max(number, i+1)
		}
	}
	h := MachineHold{Machine: id, Until: until.UTC().Truncate(time.Second), Made: now.UTC().Truncate(time.Second), Host: v.host.Name, Command: path.Base(os.Args[0])}
	for range 3 { // an owner that begins just now may take it for the file of one that died
		err = v.writeRecord(heldKind, path.Join(heldDir, numbered(number, randomHex(4))), h)
		if !isNotExist(err) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("hold a machine: %w", err)
	}
	return nil
}

// ReleaseMachine ends the holds of a machine, or those of all machines where id is
// empty, removes those that are over, and returns how many it ended. A hold of all
// machines is not ended for one. One that is damaged counts as one of all machines.
func (v *Vault) ReleaseMachine(id MachineID) (int, error) {
	ended := 0
	if id == "" {
		n, err := v.releaseDamaged()
		if ended += n; err != nil {
			return ended, err
		}
	}
	err := v.eachMachineHold(func(name string, h MachineHold) error {
		over := !h.Until.After(time.Now())
		if !over && h.Machine != id {
			return nil
		}
		if err := v.dir.Remove(path.Join(heldDir, name)); err != nil && !isNotExist(err) {
			return fmt.Errorf("release a machine: %w", err)
		}
		if !over {
			ended++
		}
		return nil
	})
	return ended, err
}

// releaseDamaged removes holds that are damaged: nobody knows whom they are about.
func (v *Vault) releaseDamaged() (n int, err error) {
	names, err := v.dir.List(heldDir)
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		var h MachineHold
		p := path.Join(heldDir, name)
		if err := v.readRecord(heldKind, p, &h); !errors.Is(err, errRecord) {
			continue
		}
		if err := v.dir.Remove(p); err != nil {
			return n, fmt.Errorf("release a machine: %w", err)
		}
		n++
	}
	return n, nil
}

// MachineHeld returns the hold on a machine that lasts longest past now, nil when there
// is none. One that cannot be read is an error: nobody knows whom it is about.
func (v *Vault) MachineHeld(id MachineID, now time.Time) (longest *MachineHold, err error) {
	err = v.eachMachineHold(func(_ string, h MachineHold) error {
		about := h.Machine == "" || h.Machine == id
		if about && h.Until.After(now) && (longest == nil || h.Until.After(longest.Until)) {
			longest = &h
		}
		return nil
	})
	return longest, err
}

// CheckHeld returns ErrMachineHeld, with until when, for a machine that is held now.
func (v *Vault) CheckHeld(m Machine) error {
	h, err := v.MachineHeld(m.ID, time.Now())
	if err != nil {
		return fmt.Errorf("%w, nobody can tell until when, and releasing all machines ends that: %w", ErrMachineHeld, err)
	}
	if h == nil {
		return nil
	}
	return fmt.Errorf("machine %s: %w by host %s until %s", m.Name, ErrMachineHeld, h.Host, h.Until.Format(time.RFC3339))
}

// MachineHolds returns until when each machine is held that is held now; the empty id stands
// for all machines.
func (v *Vault) MachineHolds(now time.Time) (map[MachineID]time.Time, error) {
	held := map[MachineID]time.Time{}
	err := v.eachMachineHold(func(_ string, h MachineHold) error {
		if h.Until.After(now) && h.Until.After(held[h.Machine]) {
			held[h.Machine] = h.Until
		}
		return nil
	})
	return held, err
}

func (v *Vault) eachMachineHold(fn func(name string, h MachineHold) error) error {
	names, err := v.dir.List(heldDir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if _, _, ok := parseNumbered(n); !ok {
			continue
		}
		var h MachineHold
		err := v.readRecord(heldKind, path.Join(heldDir, n), &h)
		if isNotExist(err) {
			continue // released meanwhile
		}
		if err != nil {
			return err
		}
		if err := fn(n, h); err != nil {
			return err
		}
	}
	return nil
}
