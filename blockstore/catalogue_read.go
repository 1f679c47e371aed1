package blockstore

import (
	"fmt"
	"os"

	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// CatalogueFile is a catalogue that was opened. Its methods may be called from several
// goroutines.
type CatalogueFile struct {
	v       *Vault
	c       Catalogue
	f       *os.File
	size    int64
	opener  *pack.Opener
	entries []pack.Entry
}

// OpenCatalogue opens a catalogue for reading. Errors that wrap [ErrCatalogue]: it is gone
// or damaged; ErrVersion: a later program wrote it.
func (v *Vault) OpenCatalogue(c Catalogue) (*CatalogueFile, error) {
	file, err := v.openCatalogue(c)
	if isNotExist(err) || isDamage(err) {
		err = fmt.Errorf("%w: %w", ErrCatalogue, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", c.path(), err)
	}
	return file, nil
}

func (v *Vault) openCatalogue(c Catalogue) (_ *CatalogueFile, err error) {
	f, err := v.dir.Open(c.path())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	defer v.dir.Call("read", c.path())()
	head, err := pack.ReadHeader(f)
	if err != nil {
		return nil, err
	}
	if head.ID != pack.ID(c.ID) || head.Class != pack.Pages || head.Seal != v.packSeal() {
		return nil, fmt.Errorf("%w: it begins as pack %s of class %d with seal %d", pack.ErrDamaged, head.ID, head.Class, head.Seal)
	}
	entries, err := pack.ReadFooter(f, st.Size(), head.ID)
	if err != nil {
		return nil, err
	}
	return &CatalogueFile{v: v, c: c, f: f, size: st.Size(), opener: pack.NewOpener(v.keys, head.ID, head.Seal), entries: entries}, nil
}

// Size is how many bytes the catalogue takes in the vault.
func (f *CatalogueFile) Size() int64 { return f.size }

// Frames is how many frames it has.
func (f *CatalogueFile) Frames() int { return len(f.entries) }

// Close closes the file.
func (f *CatalogueFile) Close() error { return f.f.Close() }

// Frame returns the content of a frame, in buf where it fits. What is damaged is an error
// that wraps [ErrCatalogue].
func (f *CatalogueFile) Frame(i int, buf []byte) ([]byte, error) {
	b, err := f.frame(f.entries[i], buf)
	if isDamage(err) {
		err = fmt.Errorf("%w: %w", ErrCatalogue, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s, frame %d: %w", f.c.path(), i, err)
	}
	return b, nil
}

func (f *CatalogueFile) frame(e pack.Entry, buf []byte) ([]byte, error) {
	records := recordBuffers.Get().(*[]byte)
	defer recordBuffers.Put(records)
	if cap(*records) < int(e.Length) {
		*records = make([]byte, e.Length)
	}
	rec := (*records)[:e.Length]
	done := f.v.dir.Call("read", f.c.path())
	_, err := f.f.ReadAt(rec, int64(e.Offset))
	done()
	if err != nil {
		return nil, err
	}
	kind, n, err := pack.Describe(rec)
	if err != nil {
		return nil, err
	}
	if kind != content.Blob || n > MaxCatalogueFrame {
		return nil, fmt.Errorf("%w: a frame of kind %v with %d bytes", pack.ErrDamaged, kind, n)
	}
	if cap(buf) < n {
		buf = make([]byte, max(n, 64<<10))
	}
	buf = buf[:n]
	return buf, f.opener.Decode(content.Blob, e.ID, rec, buf)
}
