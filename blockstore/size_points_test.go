package blockstore

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

func (z *sizing) writePoints() error {
	for m := range z.Machines {
		if err := z.machine(m); err != nil {
			return err
		}
	}
	if err := z.sealPages(); err != nil {
		return err
	}
	segment.Sort(z.pages)
	// Their packs were numbered as they were made, in the order of their IDs.
	err := z.segment(z.points, func(b *segment.Builder) ([]segment.Pack, error) {
		for _, e := range z.pages {
			if err := b.Add(e); err != nil {
				return nil, err
			}
		}
		return z.pagePacks, nil
	})
	z.pages, z.points = nil, nil
	return err
}

// machine writes a machine's points: the tree of the first, and of each later
// one the way to one leaf that differs.
func (z *sizing) machine(m int) error {
	machine := Machine{ID: MachineID(fmt.Sprintf("%016x", m+1)), Name: fmt.Sprintf("vm%03d", m), Generation: 1}
	if err := z.v.writeRecord(machineKind, machinePath(machine.ID, 1), machine); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(z.dir, pointsDir, string(machine.ID)), 0o700); err != nil {
		return err
	}
	first := uint64(m) * (z.base + uint64(z.Days) - 1)
	ids := make([]ID, z.base)
	for i := range ids {
		ids[i] = z.blockID(first + uint64(i))
	}
	levels := [][]ID{ids}
	for len(levels[len(levels)-1]) > 1 || len(levels) == 1 {
		below := levels[len(levels)-1]
		var above []ID
		for i := 0; i < len(below); i += diskmap.Fanout {
			id, err := z.page(len(levels), below[i:min(i+diskmap.Fanout, len(below))])
			if err != nil {
				return err
			}
			above = append(above, id)
		}
		levels = append(levels, above)
	}
	for day := range z.Days {
		root := levels[len(levels)-1][0]
		if day > 0 {
			var err error
			if root, err = z.changed(levels, day, z.blockID(first+z.base+uint64(day-1))); err != nil {
				return err
			}
		}
		if err := z.point(machine, day, root); err != nil {
			return err
		}
	}
	return nil
}

// changed writes the pages above one block that differs from the first point.
func (z *sizing) changed(levels [][]ID, day int, id ID) (ID, error) {
	at := day * 7919 % len(levels[0])
	for l := 1; l < len(levels); l++ {
		below := levels[l-1]
		from := at / diskmap.Fanout * diskmap.Fanout
		page := slices.Clone(below[from:min(from+diskmap.Fanout, len(below))])
		page[at-from] = id
		var err error
		if id, err = z.page(l, page); err != nil {
			return id, err
		}
		at /= diskmap.Fanout
	}
	return id, nil
}

// page stores a page. It is compressed, which blocks' even IDs allow and hashes
// do not: a reader takes it, and the disk of the benchmark is not endless.
func (z *sizing) page(level int, ids []ID) (ID, error) {
	p := diskmap.Page{Level: uint8(level)}
	copy(p.IDs[:], ids)
	plain := p.Encode(nil)
	id := z.v.keys.ID(content.Page, plain)
	var err error
	if z.rec, err = z.enc.Encode(z.rec, content.Blob, id, plain); err != nil {
		return id, err
	}
	z.rec[4] = byte(content.Page)
	if z.pagePack == nil {
		if err := z.newPagePack(); err != nil {
			return id, err
		}
	}
	at, err := z.pagePack.Append(z.rec)
	if err != nil {
		return id, err
	}
	z.pages = append(z.pages, segment.Entry{ID: id, Pack: uint32(len(z.pagePacks)), Offset: at.Offset, Length: at.Length})
	if size, records := z.pagePack.Size(); size >= maxPackBytes || records >= maxPackRecords {
		return id, z.sealPages()
	}
	return id, nil
}

func (z *sizing) newPagePack() error {
	z.pageID = pack.ID{0: 0xff, 1: 0xff, 2: 0xff}
	binary.BigEndian.PutUint64(z.pageID[8:], uint64(len(z.pagePacks)+1))
	name := z.v.dir.Path(packPath(z.writer, z.pageID))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	var err error
	if z.pageFile, err = os.Create(name); err != nil {
		return err
	}
	h := pack.Header{ID: z.pageID, Writer: z.writer.bytes(), Class: pack.Pages, Created: time.Now().Add(-100 * 24 * time.Hour), VaultName: z.v.name, Vault: z.v.raw}
	z.pagePack, err = pack.NewWriter(z.pageFile, h, z.v.keys)
	return err
}

func (z *sizing) sealPages() error {
	if z.pagePack == nil {
		return nil
	}
	entries, size, err := z.pagePack.Seal()
	if err != nil {
		return err
	}
	z.pagePacks = append(z.pagePacks, segment.Pack{ID: z.pageID, Size: size, Records: uint32(len(entries)), Class: uint8(pack.Pages)})
	z.pagePack = nil
	return z.pageFile.Close()
}

func (z *sizing) point(m Machine, day int, root ID) error {
	at := time.Now().UTC().Add(-time.Duration(z.Days-day)*24*time.Hour + time.Duration(len(z.points)))
	size := int64(z.base) * int64(z.v.head.BlockSize)
	p := Point{
		ID: newPointID(), Machine: m.ID, MachineName: m.Name, Seq: uint64(day + 1), Time: at, Committed: at, Writer: z.writer,
		Tool: "holdfast", Asked: Crash, Reached: Crash,
		Disks: []DiskInfo{{Name: "vda", Root: root, Size: size, LogicalSector: 512, PhysicalSector: 512, Format: "qcow2", Source: "/images/" + m.Name + ".qcow2", Bus: "virtio"}},
	}
	name := pointPath(m.ID, p.Seq, p.ID)
	record, err := encodeRecord(z.v.keys, false, pointKind, name, p)
	if err != nil {
		return err
	}
	z.points = append(z.points, segment.Point{Event: segment.Committed, Path: name, Record: record})
	return os.WriteFile(z.v.dir.Path(name), record, 0o600)
}
