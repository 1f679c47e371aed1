package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/holdfast-backup/holdfast/quiesce/image"
)

// PlaceSpec names what is to be restored in place.
type PlaceSpec struct {
	Path      string   // of an image file or block device, or the URI of an NBD export
	NBD       bool     // Path is a URI
	Format    string   // raw or qcow2; empty: raw, and refused if it looks like something else
	Backing   []string // folders in which backing files may lie
	VaultPath string   // a device that the vault lies on is refused
}

// Place is an image, a device or an export that is restored in place. An image or device is held
// from OpenPlace until Close: no QEMU opens it. A Place belongs to one goroutine.
type Place struct {
	spec PlaceSpec
	path string      // where a file is when it is not hidden; of a device; a URI
	held *image.Held // nil for an export
	nbd  *export     // nil for others
	mark *Mark       // of a restore that was interrupted, or of this one
	size int64       // bytes of the disk in it, as it is now

	away bool // the file is under its other name
}

// OpenPlace holds what is to be restored in place. Where a restore was interrupted there, it
// finds that. Errors: *InUseError of package image, fs.ErrNotExist.
func OpenPlace(ctx context.Context, s PlaceSpec) (_ *Place, err error) {
	p := &Place{spec: s, path: s.Path}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("restore %s in place: %w", s.Path, err), p.Close())
		}
	}()
	if s.NBD {
		if p.nbd, err = openExport(ctx, s.Path, 0, true); err != nil {
			return nil, err
		}
		p.path = p.nbd.name
		return p, p.look(ctx)
	}
	if err := p.find(); err != nil {
		return nil, err
	}
	if p.held, err = image.Hold(p.imageSpec()); err != nil {
		return nil, err
	}
	if p.held.Block() && p.away {
		return nil, fmt.Errorf("%s is a device", hiddenAway(p.path))
	}
	if err := p.refuseVault(); err != nil {
		return nil, err
	}
	return p, p.look(ctx)
}

// refuseVault refuses an image that the vault lies on or that lies in it.
func (p *Place) refuseVault() error {
	if p.spec.VaultPath == "" {
		return nil
	}
	if !p.held.Block() {
		if err := refuseVaultFolder(filepath.Dir(p.path), p.spec.VaultPath); err != nil {
			return err
		}
	}
	holds, err := image.Holds(p.imageSpec(), p.spec.VaultPath)
	if holds && err == nil {
		err = fmt.Errorf("the vault %s that is restored from lies on it", p.spec.VaultPath)
	}
	return err
}

// find looks where the file is: behind links, and perhaps hidden by a restore that
// was interrupted.
func (p *Place) find() error {
	path, err := filepath.Abs(p.spec.Path)
	for range 40 {
		if err != nil {
			return err
		}
		info, e := os.Lstat(path)
		if errors.Is(e, fs.ErrNotExist) {
			if hidden, e := os.Lstat(hiddenAway(path)); e == nil && hidden.Mode().IsRegular() {
				p.path, p.away = path, true
				return nil
			}
			return e
		}
		if e != nil || info.Mode()&fs.ModeSymlink == 0 {
			return errors.Join(e, p.alone(path))
		}
		if real, e := filepath.EvalSymlinks(path); e == nil {
			return p.alone(real)
		}
		target, e := os.Readlink(path)
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path, err = target, e
	}
	return errors.New("too many links")
}

// alone takes a path that something has, unless a file that is half restored has a right
// to it.
func (p *Place) alone(path string) error {
	p.path = path
	if _, err := os.Lstat(hiddenAway(path)); err == nil {
		return fmt.Errorf("there is %s, a file that is half restored, and yet something has its name: move %s away first", hiddenAway(path), path)
	}
	return nil
}

// continues says whether m goes on with what was interrupted, so that the place holds
// nothing but what it held before and what it is becoming.
func (p *Place) continues(m Mark) bool {
	if p.mark == nil {
		return !p.away
	}
	return !p.mark.Mixed && p.mark.Vault == m.Vault && p.mark.Point == m.Point && p.mark.Disk == m.Disk && p.mark.Before == m.Before
}

func (p *Place) imageSpec() image.Spec {
	s := image.Spec{Path: p.path, Format: p.spec.Format, Backing: p.spec.Backing}
	if p.away {
		s.Path = hiddenAway(p.path)
		if s.Format == "" {
			s.Format = "raw" // half restored, it may begin like anything
		}
	}
	return s
}

// markOn looks for a mark at the beginning of a device.
func markOn(r io.ReaderAt, size int64) (*Mark, error) {
	b := make([]byte, markAt+maxMark)
	n, err := r.ReadAt(b[:min(int64(len(b)), size)], 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if n < markAt {
		return nil, nil
	}
	return decodeMark(b[markAt:n])
}

// look finds out how large the disk is, and whether a restore was interrupted.
func (p *Place) look(ctx context.Context) error {
	r, err := p.reader(ctx)
	if err != nil {
		return err
	}
	defer r.Close() // it was only read
	p.size = r.Size()
	switch {
	case !p.isFile():
		p.mark, err = markOn(r, p.size)
	case p.away: // else it was never hidden, or is back: nothing was written, or everything
		p.mark, err = readMarkFile(p.path)
	}
	return err
}

// Name is what messages call the place.
func (p *Place) Name() string { return p.path }

// Interrupted is what a restore was doing that was interrupted there; nil: nothing.
func (p *Place) Interrupted() *Mark { return p.mark }

// Image is what reads the place for a backup while it is held. An export has none.
func (p *Place) Image() (image.Spec, bool) {
	if p.held == nil {
		return image.Spec{}, false
	}
	return p.held.Spec(), true
}

// kind is what a result calls the place.
func (p *Place) kind() Kind {
	switch {
	case p.held == nil:
		return NBD
	case p.spec.Format == "qcow2":
		return Qcow2
	case p.held.Block():
		return Device
	}
	return Raw
}

// isFile says whether the place is a file, which is hidden by another name; others are
// marked at their beginning.
func (p *Place) isFile() bool { return p.held != nil && !p.held.Block() }

// Close lets the place go.
func (p *Place) Close() error {
	switch {
	case p.held != nil:
		return p.held.Release()
	case p.nbd != nil:
		return p.nbd.close()
	}
	return nil
}

// content is a place to be read.
type content interface {
	io.ReaderAt
	io.Closer
	Size() int64

	// Run says how far from off on it is all zeros or all something else, at most length
	// bytes, and which of them.
	Run(off, length int64) (n int64, zero bool)
}

// changes is a place to be changed.
type changes interface {
	content
	io.WriterAt
	Zero(off, length int64) error
	Sync() error
}

// reader opens the place for reading alone.
func (p *Place) reader(ctx context.Context) (content, error) {
	if p.held == nil {
		return kept{p.nbd}, nil
	}
	i, err := image.Open(ctx, p.held.Spec())
	if err != nil {
		return nil, err
	}
	return i, nil
}

// editor opens the place for changes.
func (p *Place) editor(ctx context.Context) (changes, error) {
	if p.held == nil {
		return kept{p.nbd}, nil
	}
	e, err := p.held.Edit(ctx)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// kept is an export that stays open until its place is closed.
type kept struct{ *export }

func (kept) Close() error { return nil }
