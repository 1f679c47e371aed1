package blockstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/backend"
)

// Ownership is what the owner of a vault says of itself in OWNER.
type Ownership struct {
	Writer  WriterID  `json:"writer"`
	Host    string    `json:"host"`    // host name
	HostID  string    `json:"host_id"` // of the installation of the operating system
	BootID  string    `json:"boot_id"`
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Nonce   string    `json:"nonce"` // new for each owner
	Opened  time.Time `json:"opened"`
	Clean   bool      `json:"clean"`           // the owner ended and left nothing half done
	Place   Place     `json:"place,omitzero"`  // where the vault lay
	Vault   VaultID   `json:"vault,omitempty"` // its id; counts where VAULT is lost
}

// thisProcess describes this process as an owner.
func (v *Vault) thisProcess(w WriterID) Ownership {
	args := os.Args
	if v.isSealed() { // OWNER is not sealed, and arguments may name what is secret
		args = args[:min(2, len(args))]
	}
	command := strings.Join(args, " ")
	if len(command) > 200 {
		command = strings.ToValidUTF8(command[:200], "") + "..."
	}
	return Ownership{
		Writer: w, Host: v.host.Name, HostID: v.host.ID, BootID: v.host.BootID, PID: os.Getpid(),
		Command: command, Nonce: randomHex(8), Opened: time.Now().UTC(), Place: locate(v.dir.Root()),
		Vault: v.head.ID,
	}
}

// claim is the lock of a vault, held.
type claim struct {
	lock  *backend.Lock
	owner Ownership
	last  Ownership // of the owner before
	clean bool      // it said that it left nothing half done
	spent bool      // the reserve was given up for it
	// unknown is set when there was no owner before, or what it said cannot be
	// read.
	unknown bool
}

// claimVault becomes the vault's owner, waiting for another process of this
// host as long as o says.
func (v *Vault) claimVault(ctx context.Context, o OwnOptions) (*claim, error) {
	w, err := v.ownWriter()
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(o.Wait)
	for told := false; ; {
		c, err := v.tryClaim(w, o.Reclaim)
		var busy *BusyError
		if !errors.As(err, &busy) || busy.OtherHost || !time.Now().Before(deadline) || told && o.Still != nil && !o.Still() {
			return c, err
		}
		if !told && o.Waiting != nil {
			o.Waiting(busy)
		}
		told = true
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// ownWriter returns the writer that this installation writes as: the vault's
// only one, or a new one for a vault without.
func (v *Vault) ownWriter() (WriterID, error) {
	w, err := v.onlyWriter()
	if w != "" || err != nil {
		return w, err
	}
	return v.lostWriter()
}

// onlyWriter returns the vault's only writer, "" when none is named.
func (v *Vault) onlyWriter() (WriterID, error) {
	names, err := v.dir.List(writersDir)
	if err != nil {
		return "", err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !hexID.MatchString(n) })
	switch len(names) {
	case 0:
		return "", nil
	case 1:
		return WriterID(names[0]), nil
	}
	return "", fmt.Errorf("it has %d writers, and this version writes only into vaults of one: %w", len(names), ErrVersion)
}

// lostWriter finds out who wrote the vault when the folder of writers does not
// say, and makes one if nobody did. Vaults are created with one.
func (v *Vault) lostWriter() (WriterID, error) {
	w := WriterID(randomHex(8))
	for _, dir := range []string{packsDir, segmentsDir} {
		names, err := v.dir.List(dir)
		if err != nil {
			return "", err
		}
		if i := slices.IndexFunc(names, hexID.MatchString); i >= 0 {
			w = WriterID(names[i])
			break
		}
	}
	return w, v.dir.MakeDir(path.Dir(ownerPath(w)))
}

func (v *Vault) tryClaim(w WriterID, reclaim bool) (*claim, error) {
	c, err := v.lockOwner(w)
	if err != nil {
		return nil, err
	}
	if !c.unknown {
		err = v.mayOwn(c)
	}
	if err == nil {
		err = v.writeOwner(c)
	}
	if reclaim && errors.Is(err, ErrFull) { // what is set aside for this goes now
		if err = v.dir.Remove(reserveFile); err == nil {
			c.spent = true
			err = v.writeOwner(c)
		}
	}
	if err != nil {
		return nil, errors.Join(err, c.lock.Release())
	}
	return c, nil
}

// lockOwner takes the lock and reads what the last owner said of itself. A
// *BusyError tells who holds the lock, as far as that is known.
func (v *Vault) lockOwner(w WriterID) (*claim, error) {
	lock, err := v.dir.Lock(ownerPath(w))
	if errors.Is(err, backend.ErrLocked) {
		last, readErr := v.lookAtOwner(w)
		busy := &BusyError{Vault: v.dir.Root(), Owner: last} // what it says of itself is only for the message
		if readErr == nil && !last.isOf(v.host) {
			busy.OtherHost = true
		} else if readErr == nil {
			busy.State = stateOfProcess(last, v.host)
		}
		return nil, busy
	}
	if err != nil {
		return nil, err
	}
	last, readErr := v.readOwner(w)
	return &claim{lock: lock, owner: v.thisProcess(w), last: last, unknown: readErr != nil, clean: readErr == nil && last.Clean}, nil
}

// mayOwn refuses a vault that belongs to another host, or is a copy of one that
// is still there.
func (v *Vault) mayOwn(c *claim) error {
	if !c.last.isOf(v.host) {
		return &BusyError{Vault: v.dir.Root(), Owner: c.last, OtherHost: true}
	}
	unmoved, err := v.checkPlace(c.last, c.owner.Place)
	c.clean = c.clean && unmoved
	return err
}

func (v *Vault) readOwner(w WriterID) (Ownership, error) {
	var o Ownership
	err := v.readRecord(ownerKind, ownerPath(w), &o)
	return o, err
}

// lookAtOwner reads OWNER without its lock. It is rewritten in place, so a
// damaged one is looked at again: it may have been half written.
func (v *Vault) lookAtOwner(w WriterID) (o Ownership, err error) {
	for range 5 {
		if o, err = v.readOwner(w); !errors.Is(err, errRecord) {
			return o, err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return Ownership{}, err
}

func (v *Vault) writeOwner(c *claim) error {
	b, err := encodeRecord(v.keys, v.isSealed(), ownerKind, ownerPath(c.owner.Writer), c.owner)
	if err != nil {
		return err
	}
	return c.lock.Rewrite(b)
}

// stillOwner tells whether the vault was not taken over meanwhile, through
// another mount of its file system for example, and lies where it was opened: a copy
// that was put there names the same owner.
func (v *Vault) stillOwner(c *claim) error {
	o, err := v.lookAtOwner(c.owner.Writer)
	if err != nil {
		return fmt.Errorf("who owns vault %s: %w", v.dir.Root(), err)
	}
	if o.Nonce != c.owner.Nonce {
		return &BusyError{Vault: v.dir.Root(), Owner: o, OtherHost: !o.isOf(v.host), Lost: true}
	}
	return v.inPlace(c)
}

// InPlace returns an error that wraps ErrNotVault unless the vault lies where it was opened: not when its folder
// was moved, its file system unmounted, or another vault, even a copy, put there. It costs two calls into the
// file system.
func (o *Owner) InPlace() error {
	return o.unlessHung(func() error { return o.inPlace(o.claim) })
}

func (v *Vault) inPlace(c *claim) error {
	if err := c.lock.InPlace(); err != nil {
		return fmt.Errorf("vault %s lies there no more: %w: %w", v.dir.Root(), ErrNotVault, err)
	}
	return nil
}

// giveUp ends the ownership. Clean says that nothing is left half done.
func (v *Vault) giveUp(c *claim, clean bool) error {
	var err error
	if clean && v.stillOwner(c) == nil {
		c.owner.Clean = true
		err = v.writeOwner(c)
	}
	return errors.Join(err, c.lock.Release())
}
