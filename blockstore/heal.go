package blockstore

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// removeDamaged removes those of the named records in a folder that are
// damaged, once a new one that takes their place is durable.
func (o *Owner) removeDamaged(kind recordKind, folder string, names []string) error {
	for _, n := range names {
		var body any
		p := path.Join(folder, n)
		if err := o.readRecord(kind, p, &body); errors.Is(err, errRecord) {
			if err := o.dir.Remove(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// healVault writes VAULT again when it had to be read from a pack, and the second copy
// where that is missing.
func (o *Owner) healVault() error {
	names, err := o.dir.List(vaultDir)
	if err != nil {
		return err
	}
	if !o.fromPack {
		return o.healVaultCopy(names)
	}
	if err := o.writeVault(o.head, names); err != nil {
		return err
	}
	keys := ""
	if o.isSealed() {
		keys = "; it has the keys that the vault had when that pack was written"
	}
	o.warn(fmt.Sprintf("VAULT of %s was written again, from the copy in a pack%s", o.dir.Root(), keys))
	return o.removeDamaged(vaultKind, vaultDir, names)
}

// healVaultCopy writes the second copy of VAULT of a sealed vault whose keys were changed. Copies in packs
// that were written before know the keys of then: were the only one with those of now lost,
// nobody who has just these could open the vault.
func (o *Owner) healVaultCopy(names []string) error {
	generation, _, _ := parseNumbered(path.Base(o.name))
	if !o.isSealed() || generation < 2 {
		return nil
	}
	for _, n := range names {
		var copied vaultRecord
		p := path.Join(vaultDir, n)
		if g, _, ok := parseNumbered(n); ok && g == generation && p != o.name && o.readRecord(vaultKind, p, &copied) == nil {
			return nil
		}
	}
	if _, _, err := o.writeVaultCopy(o.head, generation); err != nil {
		o.warn(err.Error()) // the next owner does
		return nil
	}
	return o.removeDamaged(vaultKind, vaultDir, names)
}

// writeVault writes the next generation of VAULT, beside those that there are.
func (v *Vault) writeVault(head vaultRecord, names []string) error {
	name, raw, err := v.writeVaultFiles(head, names)
	if err != nil {
		return err
	}
	v.head, v.name, v.raw, v.fromPack = head, name, raw, false
	return nil
}

// writeVaultFiles writes the next generation of VAULT, twice when the vault is sealed, and returns
// the first.
func (v *Vault) writeVaultFiles(head vaultRecord, names []string) (name string, raw []byte, err error) {
	generation, _, _ := parseNumbered(path.Base(v.name))
	for _, n := range names {
		if g, _, ok := parseNumbered(n); ok {
			generation = max(generation, g)
		}
	}
	if name, raw, err = v.writeVaultCopy(head, generation+1); err == nil && len(head.Keys) > 0 {
		_, _, err = v.writeVaultCopy(head, generation+1)
	}
	return name, raw, err
}

func (v *Vault) writeVaultCopy(head vaultRecord, generation uint64) (name string, raw []byte, err error) {
	name = path.Join(vaultDir, numbered(generation, randomHex(4)))
	if raw, err = encodeRecord(v.keys, false, vaultKind, name, head); err != nil {
		return "", nil, err
	}
	return name, raw, v.dir.Write(name, raw)
}

// removeTemps removes what an owner that died had not made visible yet.
func (o *Owner) removeTemps() error {
	w := string(o.claim.owner.Writer)
	for _, in := range []struct {
		folder string
		depth  int // how many levels of folders lie in it
	}{
		{".", 0}, {vaultDir, 0}, {path.Join(packsDir, w), 1}, {path.Join(segmentsDir, w), 0},
		{pointsDir, 1}, {attrsDir, 1}, {attrsDir, 2}, {damagedDir, 1}, {machinesDir, 1}, {policiesDir, 1}, {clockDir, 0}, {holdsDir, 0}, {heldDir, 0}, {cataloguesDir, 1},
	} {
		if err := o.removeTempsIn(in.folder, in.depth); err != nil {
			return err
		}
	}
	return nil
}

func (o *Owner) removeTempsIn(folder string, depth int) error {
	if depth == 0 {
		return o.dir.RemoveTemps(folder)
	}
	names, err := o.dir.List(folder)
	if err != nil {
		return err
	}
	for _, n := range names {
		if !slices.ContainsFunc(ourNames, func(f func(string) bool) bool { return f(n) }) {
			continue
		}
		if err := o.removeTempsIn(path.Join(folder, n), depth-1); err != nil {
			return err
		}
	}
	return nil
}

// ourNames tell the folders of a vault from what else may lie there.
var ourNames = []func(string) bool{
	hexID.MatchString,   // of a machine
	pointID.MatchString, // of the attributes of a point
	func(n string) bool { return len(n) == 2 || len(n) == 32 }, // of packs, and of damage notes
}

// healSegments makes what damaged segments told of findable again, as far as it
// is not told elsewhere, and removes them. The packs that they named wait for
// the next segment already; it is written now.
func (o *Owner) healSegments() error {
	broken := o.tables.Load().broken
	if len(broken) == 0 {
		return nil
	}
	o.committing.Lock()
	defer o.committing.Unlock()
	if err := o.writeSegment(nil); err != nil {
		return err
	}
	for name, err := range broken {
		if !errors.Is(err, segment.ErrDamaged) {
			continue
		}
		if err := o.dir.Remove(name); err != nil {
			return err
		}
		o.warn(fmt.Sprintf("segment %s was damaged; what it told was written again, from the packs", name))
	}
	o.forgetBroken()
	return nil
}

// healPoints writes damaged records of points again, from the copies that
// segments have. An end between the two steps leaves a lost record, which the next
// owner puts back from the same copy.
func (o *Owner) healPoints() error {
	for p := range o.points.takeCopied() {
		err := o.dir.Remove(p)
		if err != nil {
			return err
		}
		for _, t := range o.tables.Load().tables {
			err = errors.Join(err, t.EachPoint(func(told segment.Point) error {
				if told.Path != p || told.Event != segment.Committed {
					return nil
				}
				if err := o.dir.Write(p, told.Record); err != nil && !errors.Is(err, fs.ErrExist) {
					return err
				}
				return nil
			}))
		}
		if err != nil {
			return err
		}
		o.warn(fmt.Sprintf("the damaged record %s was written again, from a segment", p))
	}
	return nil
}

// verifySegments reads every segment whole, and writes again, from the packs,
// what damaged ones tell. It costs a read of all segments, so sweep does it and
// backups do not.
func (o *Owner) verifySegments() error {
	o.committing.Lock()
	defer o.committing.Unlock()
	_, err := o.distrust(o.tables.Load().tables)
	return err
}
