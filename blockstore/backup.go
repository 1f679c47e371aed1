package blockstore

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// ErrRunning reports a machine that is being backed up already.
var ErrRunning = errors.New("a backup of this machine is running")

// BackupOptions say which machine is backed up and what its point records.
type BackupOptions struct {
	Machine string    // name; its record is made when there is none
	Time    time.Time // instant of the snapshot
	Asked   Consistency
	Reached Consistency
	Reason  string // why that was reached
	Tool    string // program and version
	Workers int    // 0: one per processor

	WriteRate int64 // bytes of blocks a second that it adds to the vault at most; 0: no limit

	// Beside are paths of what grows by itself: disks of machines that run, and
	// scratch files. Where one shares the vault's file system, twice the floor of
	// free space is kept there from then on, unless the owner was told how much.
	Beside []string
}

// Backup is one recovery point being made. AddDisk may be called for several
// disks at once, Commit and Abort once everything else has returned.
type Backup struct {
	o       *Owner
	machine Machine
	parent  *Point
	workers int
	sweeps  bool // it only carries what a sweep copies
	pace    *Pace

	mu     sync.Mutex
	point  Point
	counts map[*openPack]bool // packs that were not durable when something in them was stored or found
	ended  bool
	healed int // records stored that the vault had lost
}

// Begin begins the next recovery point of a machine. Only one is made at a
// time; another is ErrRunning.
func (o *Owner) Begin(ctx context.Context, b BackupOptions) (*Backup, error) {
	if err := CheckMachineName(b.Machine); err != nil {
		return nil, err
	}
	if !o.setRunning(b.Machine) {
		return nil, fmt.Errorf("machine %s: %w", b.Machine, ErrRunning)
	}
	var n *Backup
	err := unlessHung(ctx, o.dir, func(ctx context.Context) (err error) {
		n, err = o.begin(ctx, b)
		return err
	})
	if err == nil {
		return n, nil
	}
	if o.dir.HangError() == nil { // else its locks may be held
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.running, b.Machine)
	}
	return nil, err
}

// setRunning returns false when the machine of a name or a runningID is being backed up
// already.
func (o *Owner) setRunning(machine string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.running[machine] {
		return false
	}
	o.running[machine] = true
	return true
}

func (o *Owner) begin(ctx context.Context, b BackupOptions) (*Backup, error) {
	if o.opts.Reclaim {
		return nil, fmt.Errorf("vault %s was opened to make room in it: %w", o.dir.Root(), ErrFull)
	}
	o.lookBeside(b.Beside)
	if err := o.checkSpace(0); err != nil {
		return nil, err
	}
	if err := o.history.load(ctx, o); err != nil {
		return nil, err
	}
	m, err := o.beginMachine(ctx, b.Machine)
	if err != nil {
		return nil, err
	}
	n := &Backup{o: o, machine: m, workers: o.workers(b.Workers), pace: NewPace(b.WriteRate), counts: map[*openPack]bool{}}
	n.point = Point{
		ID: newPointID(), Machine: m.ID, MachineName: m.Name, Time: b.Time.UTC(), Writer: o.claim.owner.Writer,
		Tool: b.Tool, Asked: b.Asked, Reached: b.Reached, Reason: b.Reason,
	}
	if n.parent = o.pinParent(m.ID, func(*Point) bool { return true }); n.parent != nil {
		n.point.Parent = n.parent.ID
	}
	return n, nil
}

// runningID is what setRunning is told of an id, which no name can be.
func runningID(id MachineID) string { return "/" + string(id) }

// beginMachine returns the machine of a name, made where there is none, and notes that it
// is backed up: also under a name that it gets meanwhile.
func (o *Owner) beginMachine(ctx context.Context, name string) (Machine, error) {
	o.machining.Lock()
	defer o.machining.Unlock()
	m, err := o.machineNamed(ctx, name)
	if err == nil && !o.setRunning(runningID(m.ID)) {
		err = fmt.Errorf("machine %s, which was called otherwise when that began: %w", name, ErrRunning)
	}
	return m, err
}

func (o *Owner) workers(asked int) int {
	if asked == 0 {
		return runtime.GOMAXPROCS(0)
	}
	return asked
}

// pinParent returns the newest point of a machine that fits and is neither in
// the trash nor being dropped, and keeps it from being dropped.
func (o *Owner) pinParent(m MachineID, fits func(*Point) bool) *Point {
	o.mu.Lock()
	defer o.mu.Unlock()
	parent := o.history.newestOf(m, func(p *Point) bool {
		if !fits(p) {
			return false
		}
		s, err := o.State(p)
		if err != nil {
			o.warn(err.Error())
		}
		return !s.InTrash() && !o.dropping[p.ID]
	})
	if parent != nil {
		o.parents[parent.ID] = true // one machine, one backup: nobody else has it
	}
	return parent
}

// Parent is the point that this one is compared with, nil for the first.
func (b *Backup) Parent() *Point { return b.parent }

// ParentDisk finds the disk of the parent that a disk continues: the one of
// its serial number, or else the one read from the same source, or else the one of
// that name. What several have tells nothing. It only saves work: what it
// holds is compared, never assumed, unless the source says Same, which
// is about the disk that is returned here. It is nil when there is none.
func (b *Backup) ParentDisk(info DiskInfo) *DiskInfo {
	if b.parent == nil {
		return nil
	}
	if d := b.parent.only(func(d *DiskInfo) bool { return info.Serial != "" && d.Serial == info.Serial }); d != nil {
		return d
	}
	if d := b.parent.only(func(d *DiskInfo) bool { return info.Source != "" && d.Source == info.Source }); d != nil {
		return d
	}
	d, err := b.parent.Disk(info.Name)
	if err != nil {
		return nil
	}
	return d
}

// PointID is the id that the point will have.
func (b *Backup) PointID() PointID { return b.point.ID }

// SetTime replaces the instant of the snapshot, where that was taken after Begin.
func (b *Backup) SetTime(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.point.Time = t.UTC()
}

// SetVM records which VM it was, and how it was held still.
func (b *Backup) SetVM(vm VM, q *Quiesced) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.point.VM, b.point.Quiesced = &vm, q
}

// ErrHarmed reports a disk of the parent that is damaged, and is to be read so
// that it heals.
var ErrHarmed = errors.New("the vault's copy of it is damaged: it has to be read")

// KeepDisk takes the parent's disk of info's name over, unread. One that is
// damaged is ErrHarmed.
func (b *Backup) KeepDisk(info DiskInfo) error {
	if b.parent == nil {
		return fmt.Errorf("keep disk %s: there is no parent point", info.Name)
	}
	d, err := b.parent.Disk(info.Name)
	if err != nil {
		return fmt.Errorf("keep disk %s: %w", info.Name, err)
	}
	if d.Size != info.Size {
		return fmt.Errorf("keep disk %s: it has %d bytes, the parent's had %d", info.Name, info.Size, d.Size)
	}
	if harmed, err := b.harmed(d); err != nil || harmed {
		return errors.Join(err, fmt.Errorf("keep disk %s: %w", info.Name, ErrHarmed))
	}
	info.Root = d.Root
	info.Sizes = Sizes{Logical: d.Size, Protected: d.Sizes.Protected}
	return b.addDisk(info)
}

func (b *Backup) addDisk(info DiskInfo) error {
	if err := CheckDiskName(info.Name); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.point.Disk(info.Name); err == nil {
		return fmt.Errorf("disk %s: %w in this point", info.Name, ErrExists)
	}
	b.point.Disks = append(b.point.Disks, info)
	b.point.Sizes.Add(info.Sizes)
	return nil
}

// LeaveOut records a disk of the machine that is not in the point.
func (b *Backup) LeaveOut(l LeftOut) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.point.LeftOut = append(b.point.LeftOut, l)
}

// SetConsistency replaces what was reached, for sources that know it only at
// their end.
func (b *Backup) SetConsistency(reached Consistency, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.point.Reached, b.point.Reason = reached, reason
}

// AddConfig adds a file of the machine's configuration.
func (b *Backup) AddConfig(name string, data []byte) error {
	if err := CheckConfigName(name); err != nil {
		return err
	}
	return b.o.unlessHung(func() error { return b.addConfig(name, data) })
}

func (b *Backup) addConfig(name string, data []byte) error {
	if len(data) > MaxConfig {
		return fmt.Errorf("configuration %s has %d bytes, at most %d are kept", name, len(data), MaxConfig)
	}
	c := ConfigBlob{Name: name, Size: int64(len(data)), Parts: []ID{}}
	enc := b.o.encoder()
	for part := range slices.Chunk(data, maxBlob) {
		id := b.o.keys.ID(content.Blob, part)
		stored, err := b.store(enc, content.Blob, id, part)
		if err != nil {
			return fmt.Errorf("store configuration %s: %w", name, err)
		}
		b.mu.Lock()
		b.point.Sizes.Stored += stored
		b.mu.Unlock()
		c.Parts = append(c.Parts, id)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if slices.ContainsFunc(b.point.Config, func(o ConfigBlob) bool { return o.Name == name }) {
		return fmt.Errorf("configuration %s: %w in this point", name, ErrExists)
	}
	b.point.Config = append(b.point.Config, c)
	return nil
}

// encoder makes records as the owner's options say.
func (o *Owner) encoder() *recorder {
	return &recorder{Encoder: pack.Encoder{Acceleration: o.opts.Acceleration, Paranoid: o.opts.Paranoid}}
}

// recorder is an encoder with the buffer that it encodes into. It belongs to
// one goroutine.
type recorder struct {
	pack.Encoder
	buf []byte
}

// store stores content that is not known yet. It returns the bytes added.
func (b *Backup) store(r *recorder, kind content.Kind, id ID, plain []byte) (int64, error) {
	known, err := b.o.find(id, b)
	if known || err != nil {
		return 0, err
	}
	return b.storeAnew(r, kind, id, plain)
}

// noteHealed counts a record that the vault had lost.
func (b *Backup) noteHealed(id ID) {
	if b.o.damage.isLost(id) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.healed++
	}
}

// Healed is how many blocks, and pieces of maps and configurations, the vault
// had lost to damage and this backup stored again: every point that names them can
// be read there again.
func (b *Backup) Healed() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.healed
}

// storeAnew stores content without asking the index.
func (b *Backup) storeAnew(r *recorder, kind content.Kind, id ID, plain []byte) (int64, error) {
	rec, err := r.Encode(r.buf, kind, id, plain)
	if err != nil {
		return 0, err
	}
	r.buf = rec[:0]
	return b.o.put(kind, id, rec, b)
}

// Abort ends a backup that was not committed; after Commit it does nothing.
// What was stored stays for the next run.
func (b *Backup) Abort() {
	b.o.unlessHung(func() error { b.abort(); return nil }) // nobody waits for the locks of a vault that hangs
}

func (b *Backup) abort() {
	b.mu.Lock()
	ended := b.ended
	b.ended = true
	b.mu.Unlock()
	if ended {
		return
	}
	b.o.store.unpin(b)
	b.o.mu.Lock()
	defer b.o.mu.Unlock()
	delete(b.o.running, b.machine.Name)
	delete(b.o.running, runningID(b.machine.ID))
	if b.parent != nil {
		delete(b.o.parents, b.parent.ID)
	}
}
