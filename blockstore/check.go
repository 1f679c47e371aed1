package blockstore

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// CheckOptions of Check.
type CheckOptions struct {
	Data     bool                    // read, decompress and hash every record
	Percent  float64                 // with Data: only so much of the packs, what was not read for longest first; 0: all
	Rate     int64                   // with Data: bytes read a second, at most; 0: no limit
	StateDir string                  // where it is remembered when each pack was read; "": nowhere
	Workers  int                     // 0: one per processor
	Progress func(done, total int64) // bytes of packs with Data, else points; may be nil
}

// Fault is one thing that is wrong with a vault.
type Fault struct {
	Where string // file, or record
	What  string
	Harms []Harm // what cannot be read because of it; empty when it harms no point
}

// Harm is a range of a disk of a point, in bytes.
type Harm struct {
	Machine        string
	Point          PointID
	Disk           string // "config/NAME" for a configuration file, "" for the whole point
	Offset, Length int64
}

// CheckReport is what Check found.
type CheckReport struct {
	Points, Pages, Blocks, Packs, Segments int64 // looked at; pages and blocks that are shared count once
	BytesRead                              int64
	Faults                                 []Fault

	// Damaged are records that are damaged, and records that are noted as
	// damaged and good: [Owner.NoteDamage] takes them.
	Damaged []Damaged
	// Torn are packs whose header or footer is damaged: [Owner.Mend] takes them.
	Torn []pack.ID
	// ReadSince is the time since when every pack was read by this check, or by earlier
	// ones that were remembered; zero: never.
	ReadSince time.Time

	examined []*Point
}

// Harmed tells whether any fault harms a point.
func (r *CheckReport) Harmed() bool {
	return slices.ContainsFunc(r.Faults, func(f Fault) bool { return len(f.Harms) > 0 })
}

// Check walks everything that the vault's points name, and every file of the
// vault, and reports what does not hold. It repairs nothing. An error means
// that it could not go on; faults are in the report.
func (v *Vault) Check(ctx context.Context, o CheckOptions) (*CheckReport, error) {
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	c := newChecker(v, o)
	for _, step := range []func(context.Context) error{c.records, c.writers, c.catalogues, c.segments, c.packs, c.points, c.harms} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("check vault %s: %w", v.dir.Root(), err)
		}
	}
	c.report.examined = c.found
	return c.finish(), nil
}

func newChecker(v *Vault, o CheckOptions) *checker {
	return &checker{v: v, o: o, pace: Pace{rate: o.Rate}, loose: map[pack.ID]bool{}, bad: map[ID]*Fault{},
		gone: map[pack.ID]*Fault{}, short: map[pack.ID]shortPack{}, read: map[pack.ID]bool{}, report: &CheckReport{}}
}

// finish puts all faults into the report.
func (c *checker) finish() *CheckReport {
	faults := map[*Fault]bool{}
	for _, f := range c.unreadable {
		faults[f] = true
	}
	for _, f := range c.bad {
		faults[f] = true
	}
	for f := range faults {
		c.report.Faults = append(c.report.Faults, *f)
	}
	slices.SortStableFunc(c.report.Faults, func(a, b Fault) int { return slices.Compare([]byte(a.Where), []byte(b.Where)) })
	return c.report
}

// checker is one run of Check.
type checker struct {
	v      *Vault
	o      CheckOptions
	tables *tableSet // as after the points were listed: all that they name is in them
	found  []*Point
	loose  map[pack.ID]bool // reported as named by no segment
	notes  noted            // records that are noted as damaged
	pace   Pace

	readings *readings // with Data

	mu         sync.Mutex            // guards what follows while several goroutines look at packs
	bad        map[ID]*Fault         // content that cannot be read; that of one pack shares a fault
	gone       map[pack.ID]*Fault    // packs that cannot be read at all
	short      map[pack.ID]shortPack // packs of another size than their segment says
	unreadable []*Fault              // of those in gone, the packs that are there
	read       map[pack.ID]bool      // packs all of whose records were read
	report     *CheckReport
}

func (c *checker) fault(where string, err error, harms ...Harm) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Faults = append(c.report.Faults, Fault{where, err.Error(), harms})
}

// lost notes content that cannot be read; what it harms is found at the end.
func (c *checker) lost(id ID, where string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bad[id] == nil {
		c.bad[id] = &Fault{Where: where, What: err.Error()}
	}
}

// records reads every small record. Points that can be read are kept in found.
func (c *checker) records(ctx context.Context) error {
	if c.v.fromPack {
		c.fault(vaultDir, errors.New("no record of VAULT can be read; the vault was opened with the copy in a pack, and the next owner of the vault writes it again"))
	}
	for _, dir := range []string{vaultDir, machinesDir, policiesDir, attrsDir, damagedDir, clockDir, holdsDir, heldDir, pointsDir} {
		if err := c.recordsIn(ctx, dir, dir); err != nil {
			return err
		}
	}
	c.report.Points = int64(len(c.found))
	machines := map[MachineID]bool{}
	for _, p := range c.found {
		if machines[p.Machine] {
			continue
		}
		machines[p.Machine] = true
		if names, err := c.v.dir.List(path.Join(machinesDir, string(p.Machine))); err == nil && len(names) == 0 {
			c.fault(path.Join(machinesDir, string(p.Machine)), fmt.Errorf("the record of machine %s is lost; the next backup writes it again", p.MachineName))
		}
	}
	var err error
	if c.notes, _, err = c.v.damageNotes(ctx); err != nil { // those that cannot be read are faults already
		return err
	}
	return c.refreshTables(ctx)
}

func (c *checker) refreshTables(ctx context.Context) error {
	if err := c.v.refresh(ctx); err != nil {
		return err
	}
	c.tables = c.v.tables.Load()
	return nil
}

// recordsIn reads the records in a folder of a vault's top folder, and in those
// below it.
func (c *checker) recordsIn(ctx context.Context, top, dir string) error {
	names, err := c.v.dir.List(dir)
	if err != nil {
		return err
	}
	gone := c.v.tables.Load().dropped()
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := path.Join(dir, name)
		if gone[p] {
			continue // what is left of a point that was dropped
		}
		if _, _, ok := parseNumbered(name); !ok {
			if err := c.recordsIn(ctx, top, p); err != nil {
				c.fault(p, fmt.Errorf("it does not belong there: %w", err))
			}
			continue
		}
		if err := c.record(top, p); err != nil && !isNotExist(err) {
			c.fault(p, err)
		}
	}
	return nil
}

// kindsOf are the kinds of the records in folders where nothing but the record itself is looked at.
var kindsOf = map[string]recordKind{vaultDir: vaultKind, machinesDir: machineKind, policiesDir: policyKind, attrsDir: attributeKind,
	clockDir: clockKind, holdsDir: holdKind, heldDir: heldKind}

func (c *checker) record(top, p string) error {
	b, err := c.v.dir.ReadFile(p, maxRecord)
	if err != nil {
		return err
	}
	if kind, ok := kindsOf[top]; ok {
		var body any
		return decodeRecord(c.v.keys, kind, p, b, &body)
	}
	if top == damagedDir {
		_, err := decodeDamage(c.v.keys, p, b)
		return err
	}
	point, err := c.v.decodePoint(p, b)
	if err != nil {
		return c.copyOfPoint(p, err)
	}
	if want := pointPath(point.Machine, point.Seq, point.ID); want != p {
		return fmt.Errorf("it is the point that belongs at %s", want)
	}
	c.found = append(c.found, point)
	return nil
}

// copyOfPoint reports a record that is damaged. Where a segment has a copy of
// it, it harms nobody.
func (c *checker) copyOfPoint(p string, damage error) error {
	point, err := c.v.pointInSegments(p)
	if err == nil {
		c.found = append(c.found, point)
		return fmt.Errorf("%w; a segment has a copy of it, which is used", damage)
	}
	machine := path.Base(path.Dir(p))
	if m, err := c.v.machine(MachineID(machine)); err == nil {
		machine = m.Name
	}
	_, id, _ := parseNumbered(path.Base(p))
	c.fault(p, damage, Harm{Machine: machine, Point: PointID(id)})
	return nil
}

// writers reads what owners say of themselves. One that is just being
// rewritten is read again.
func (c *checker) writers(ctx context.Context) error {
	names, err := c.v.dir.List(writersDir)
	if err != nil {
		return err
	}
	for _, w := range names {
		for try := range 5 {
			_, err = c.v.readOwner(WriterID(w))
			if err == nil || isNotExist(err) && try > 0 {
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(20 * time.Millisecond):
			}
		}
		if err != nil && !(isNotExist(err) && !c.wasWritten()) {
			c.fault(ownerPath(WriterID(w)), fmt.Errorf("%w; the next owner writes it anew", err))
		}
	}
	return nil
}

// wasWritten tells whether the vault ever had an owner.
func (c *checker) wasWritten() bool { return len(c.tables.names) > 0 }

// segments verifies every segment, and that no point is missing that one tells of.
func (c *checker) segments(ctx context.Context) error {
	for name, err := range c.tables.broken {
		c.fault(name, err)
	}
	for _, t := range c.tables.tables {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.Verify(c.v.keys); err != nil {
			c.fault(t.Name, fmt.Errorf("%w; what it should say is read from the packs, and the next sweep writes it again", err))
		}
		c.report.Segments++
	}
	return c.missingPoints()
}

var errPointLost = errors.New("its record is lost; a segment has a copy of it, which is used, and the next owner of the vault puts it back")
