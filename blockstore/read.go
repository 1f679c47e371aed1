package blockstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// errMissing reports content that no pack holds.
var errMissing = errors.New("it is in no pack")

// recordBuffers hold records while they are decoded.
var recordBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, DefaultBlockSize+pack.RecordHeaderSize)
	return &b
}}

// decoder turns a record of a pack into content, or says what is wrong with it.
type decoder func(o *pack.Opener, rec []byte) error

// read finds the content of id and hands its record to decode, copy after
// copy, until one decodes. When none does, or a pack is gone, the segments are read again, once:
// sweep may have moved it. At last the packs that no segment names are looked into.
func (v *Vault) read(kind content.Kind, id ID, decode decoder) error {
	set := v.tables.Load()
	done, err := v.readFrom(set, kind, id, decode)
	if done {
		return nil
	}
	if err := v.refresh(context.Background()); err != nil {
		return fmt.Errorf("%v %s: %w", kind, id.Short(), err)
	}
	if fresh := v.tables.Load(); fresh != set {
		set = fresh
		if done, err = v.readFrom(set, kind, id, decode); done {
			return nil
		}
	}
	if e := v.loadLoose(set); e != nil {
		return fmt.Errorf("%v %s: %w", kind, id.Short(), e)
	}
	done, e := v.readLoose(set, kind, id, decode)
	if done {
		return nil
	}
	if err = errors.Join(err, e); err == nil {
		err = errMissing
	}
	return fmt.Errorf("%v %s: %w", kind, id.Short(), err)
}

// readLoose tries the copies in packs that no good segment names.
func (v *Vault) readLoose(set *tableSet, kind content.Kind, id ID, decode decoder) (done bool, err error) {
	var errs []error
	for _, p := range (*set.loose.Load())[id] {
		err := v.readPlace(p, decode)
		if err == nil {
			return true, nil
		}
		v.tellDamage(p, kind, id, err)
		errs = append(errs, fmt.Errorf("pack %s at %d: %w", p.pack, p.Offset, err))
	}
	return false, errors.Join(errs...)
}

func (v *Vault) readFrom(set *tableSet, kind content.Kind, id ID, decode decoder) (done bool, err error) {
	var errs []error
	err = set.find(id, func(p place) bool {
		err := v.readPlace(p, decode)
		if err != nil {
			v.tellDamage(p, kind, id, err)
			errs = append(errs, fmt.Errorf("pack %s at %d: %w", p.pack, p.Offset, err))
		}
		done = err == nil
		return done
	})
	return done, errors.Join(append(errs, err)...)
}

// tellDamage tells the owner of this process of a damaged record. One that is
// good as what it says of itself is not: somebody tried it as another kind, since
// the list that tells kinds was lost.
func (v *Vault) tellDamage(p place, kind content.Kind, id ID, err error) {
	if v.onDamage == nil || !isDamage(err) {
		return
	}
	if v.readPlace(p, func(op *pack.Opener, rec []byte) error { return decodes(op, 0, id, rec) }) == nil {
		return
	}
	v.onDamage(p, kind, id, err)
}

// readPlace reads one copy, a second time past the page cache if it is bad.
func (v *Vault) readPlace(p place, decode decoder) error {
	buf := recordBuffers.Get().(*[]byte)
	defer recordBuffers.Put(buf)
	if cap(*buf) < int(p.Length) {
		*buf = make([]byte, p.Length)
	}
	rec := (*buf)[:p.Length]
	open := func() (*os.File, error) { return v.dir.Open(packPath(p.writer, p.pack)) }
	opener := v.opener(p.pack)
	err := v.files.with(p.pack, open, func(f *os.File) error {
		done := v.dir.Call("read", packPath(p.writer, p.pack))
		_, err := f.ReadAt(rec, int64(p.Offset))
		done()
		if err != nil {
			return err
		}
		err = decode(opener, rec)
		if err == nil || !errors.Is(err, pack.ErrDamaged) {
			return err
		}
		unix.Fadvise(int(f.Fd()), int64(p.Offset), int64(p.Length), unix.FADV_DONTNEED) // best effort
		if _, err := f.ReadAt(rec, int64(p.Offset)); err != nil {
			return err
		}
		return decode(opener, rec)
	})
	if err != nil && !isDamage(err) {
		v.files.forget(p.pack) // what is in its place may be right again the next time
	}
	return err
}

// readBlock decodes a block into dst, which has the vault's block size.
func (v *Vault) readBlock(id ID, dst []byte) error {
	return v.read(content.Block, id, func(o *pack.Opener, rec []byte) error {
		return o.Decode(content.Block, id, rec, dst)
	})
}

// readPart decodes a block into a buffer that it gives back, and fills dst from
// it, skipping its first bytes.
func (v *Vault) readPart(id ID, dst []byte, skip int64) error {
	b := v.parts.Get().(*[]byte)
	defer v.parts.Put(b)
	if err := v.readBlock(id, *b); err != nil {
		return err
	}
	copy(dst, (*b)[skip:])
	return nil
}

// readWhole returns content whose length is known only from its record.
func (v *Vault) readWhole(kind content.Kind, id ID) (plain []byte, err error) {
	err = v.read(kind, id, func(o *pack.Opener, rec []byte) error {
		_, n, err := pack.Describe(rec)
		if err != nil {
			return err
		}
		plain = make([]byte, n)
		return o.Decode(kind, id, rec, plain)
	})
	return plain, err
}

// cachedBlock returns a decoded block, which nobody changes.
func (v *Vault) cachedBlock(id ID) ([]byte, error) {
	if b, ok := v.blocks.Get(id); ok {
		return b, nil
	}
	b, err, _ := v.decoding.Do(string(id[:]), func() (any, error) {
		b := make([]byte, v.head.BlockSize)
		if err := v.readBlock(id, b); err != nil {
			return nil, err
		}
		v.blocks.Add(id, b)
		return b, nil
	})
	if err != nil {
		return nil, err
	}
	return b.([]byte), nil
}

// loadPage returns a decoded page of a disk map, which nobody changes.
func (v *Vault) loadPage(id ID, level int) (*diskmap.Page, error) {
	if p, ok := v.pages.Get(id); ok && int(p.Level) == level {
		return p, nil
	}
	b, err := v.readWhole(content.Page, id)
	if err != nil {
		return nil, err
	}
	p, err := diskmap.Decode(b, level)
	if err != nil {
		return nil, fmt.Errorf("page %s: %w", id.Short(), err)
	}
	v.pages.Add(id, p)
	return p, nil
}

// diskMap is the map of a disk of a point.
func (v *Vault) diskMap(d *DiskInfo) *diskmap.Map {
	return &diskmap.Map{Root: d.Root, Blocks: v.blocksOf(d.Size), Load: v.loadPage}
}

// blocksOf is how many blocks a disk of size bytes has.
func (v *Vault) blocksOf(size int64) int64 {
	bs := int64(v.head.BlockSize)
	return size/bs + min(1, size%bs)
}
