package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"math/rand/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// UsualSamples is how many clean blocks of each disk are read again in a run, unless
// its machine says otherwise.
const UsualSamples = 32

// StaleError reports a block that a bitmap calls clean and that is not what it was.
type StaleError struct {
	Disk   string
	Offset int64
}

func (e *StaleError) Error() string {
	return fmt.Sprintf("disk %s: the block at %d had changed although its bitmap calls it clean", e.Disk, e.Offset)
}

// sample reads a few blocks again that src calls the same as in old, and compares
// them. They are spread evenly by chance; of blocks that are zeros about half as many are
// compared, since they tell less. Some near the disk's end are compared besides. Errors: *StaleError. What the vault cannot read is not compared.
func sample(ctx context.Context, name string, src blockstore.Source, old io.ReaderAt, blockSize int64, n int, rng *rand.Rand) error {
	const spare = 4
	places, ends, err := cleanBlocks(ctx, src, blockSize, spare*n, rng)
	if err != nil {
		return err
	}
	places = append(ends, places...)
	was, is := make([]byte, blockSize), make([]byte, blockSize)
	empty := make([]byte, blockSize)
	zeros, left := n/2, n
	for i, at := range places {
		if left == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		size := min(blockSize, src.Size()-at)
		if m, err := old.ReadAt(was[:size], at); int64(m) < size || err != nil && !errors.Is(err, io.EOF) {
			continue
		}
		if bytes.Equal(was[:size], empty[:size]) {
			if i < len(ends) || zeros == 0 {
				continue
			}
			zeros--
		}
		if i >= len(ends) {
			left--
		}
		if m, err := src.ReadAt(is[:size], at); int64(m) < size {
			return fmt.Errorf("disk %s: read again at %d: %w", name, at, err)
		}
		if !bytes.Equal(was[:size], is[:size]) {
			return &StaleError{name, at}
		}
	}
	return nil
}

// cleanBlocks chooses up to n whole blocks of those that src calls the same, by chance
// and about as likely each as any other. It takes a step for each run of them, however
// long that is. ends are the last clean block and some before it, each twice as far from the
// disk's end as the next: QEMU calls clean what a disk lost that was made smaller, and then
// as large as before.
func cleanBlocks(ctx context.Context, src blockstore.Source, blockSize int64, n int, rng *rand.Rand) (places, ends []int64, err error) {
	byDistance := map[int]int64{}
	seen := int64(0) // clean blocks
	err = src.Extents(ctx, func(e blockstore.Extent) error {
		if e.Kind != blockstore.Same {
			return nil
		}
		first, end := (e.Offset+blockSize-1)/blockSize, e.End()/blockSize
		if e.End() == src.Size() { // the last block may be shorter
			end = (e.End() + blockSize - 1) / blockSize
		}
		count := end - first
		if count <= 0 {
			return nil
		}
		for at := end - 1; at >= first; { // a step for each power of two
			left := (src.Size() - 1 - at*blockSize) / blockSize // blocks behind it
			k := bits.Len64(uint64(left))
			if old, ok := byDistance[k]; !ok || old < at*blockSize {
				byDistance[k] = at * blockSize
			}
			at -= max(1, 1<<k-left) // the first with one power more
		}
		for len(places) < n && int64(len(places)) < seen+count {
			places = append(places, (first+rng.Int64N(count))*blockSize)
		}
		// The run's share of the places, rounded by chance.
		share := float64(n) * float64(count) / float64(seen+count)
		for share -= rng.Float64(); share >= 0 && seen > 0; share-- {
			places[rng.IntN(len(places))] = (first + rng.Int64N(count)) * blockSize
		}
		seen += count
		return nil
	})
	rng.Shuffle(len(places), func(i, j int) { places[i], places[j] = places[j], places[i] })
	for _, at := range byDistance {
		ends = append(ends, at)
	}
	return places, ends, err
}

// wholly is a source of which nothing is believed to be the same.
type wholly struct{ blockstore.Source }

// Extents is that of the source, with data where it says that nothing changed.
func (w wholly) Extents(ctx context.Context, fn func(blockstore.Extent) error) error {
	return w.Source.Extents(ctx, func(e blockstore.Extent) error {
		if e.Kind == blockstore.Same {
			e.Kind = blockstore.Data
		}
		return fn(e)
	})
}

// believed returns the snapshot's disks, after a look at whether its bitmaps can be
// believed. Where one of them cannot, none of the run is.
func (l *liveRun) believed(ctx context.Context, s Snapshot) ([]SnapshotDisk, error) {
	disks := s.Disks()
	if len(disks) != len(l.disks) {
		return nil, fmt.Errorf("the snapshot has %d disks, %d were asked for", len(disks), len(l.disks))
	}
	for i := range disks { // where the size was not known before
		d := &disks[i]
		if then := l.backup.ParentDisk(l.info(d)); d.Mode == blockstore.ByBitmap && then != nil && then.Size != d.Size() {
			d.Source, d.Mode, d.Reason = wholly{d.Source}, blockstore.ByScan, fmt.Sprintf("the disk was resized, from %d to %d bytes", then.Size, d.Size())
		}
	}
	for i := range disks {
		disks[i].Source = sameAsParent(disks[i].Source, l.moved[disks[i].Name])
	}
	err := l.sample(ctx, disks)
	var stale *StaleError
	if !errors.As(err, &stale) {
		return disks, err
	}
	l.lied = true
	l.warn("%v: all disks were read whole; something writes to the VM's disks past QEMU, a disk was made smaller and large again, or QEMU lost track", stale)
	for i := range disks {
		if d := &disks[i]; d.Mode == blockstore.ByBitmap {
			d.Source, d.Mode, d.Reason = wholly{d.Source}, blockstore.ByScan, "not believed: "+stale.Error()
		}
	}
	return disks, nil
}

func (l *liveRun) sample(ctx context.Context, disks []SnapshotDisk) error {
	for _, d := range disks {
		if d.Mode != blockstore.ByBitmap {
			continue
		}
		then := l.backup.ParentDisk(l.info(&d))
		if then == nil {
			return fmt.Errorf("disk %s: a bitmap since a point that does not have it", d.Name)
		}
		if err := l.sampleDisk(ctx, l.backup.Parent(), then.Name, d.Name, d.Source); err != nil {
			return err
		}
	}
	return nil
}

// sampleDisk compares a sample of what src calls the same with the parent's disk of a name.
func (r *machineRun) sampleDisk(ctx context.Context, parent *blockstore.Point, then, name string, src blockstore.Source) error {
	n := r.Machine.Protected.Samples
	if n == 0 {
		n = UsualSamples
	}
	if n < 0 {
		return nil
	}
	old, err := r.owner.OpenDisk(parent, then)
	if err != nil {
		return err
	}
	return sample(ctx, name, src, old, int64(r.owner.Info().BlockSize), n, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))
}
