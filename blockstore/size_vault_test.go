package blockstore

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/index"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// sizedVault is a vault of any size without its blocks: points, pages, segments
// and the names of packs are real, packs of blocks are holes of the right
// length. IDs of blocks are drawn evenly, not hashed.
type sizedVault struct {
	Blocks   int64 // that points name
	Dead     int64 // more that none names, in packs whose footers are there
	Machines int
	Days     int // points of each machine; each but the first changes one block
}

const (
	sizedRecord  = 44_000 // bytes of a block's record
	sizedPerPack = 1500
	sizedStart   = 4096
	sizedEnd     = sizedStart + sizedPerPack*sizedRecord
)

// sizedShares are how the blocks lie in segments, as merging leaves them: one
// of half of them, and some of each smaller class.
var sizedShares = []float64{.5, .1, .1, .1, .1, .02, .02, .02, .02, .004, .004, .004, .004, .0008, .0008, .0008, .0008, .0002, .0002, .0002}

// sizedTable is the part of the blocks that one segment lists: those from first
// on. The order of their IDs is a permutation that is computed, not stored.
type sizedTable struct {
	first, n   uint64
	mult, back uint64 // y*mult%n is the rank of block first+y, rank*back%n is y
	step       uint64 // of the first eight bytes of IDs
}

func newSizedTable(first, n uint64) sizedTable {
	t := sizedTable{first: first, n: n, mult: n*618/1000 | 1, step: ^uint64(0) / n}
	m := new(big.Int).SetUint64(n)
	for ; ; t.mult += 2 {
		if back := new(big.Int).ModInverse(new(big.Int).SetUint64(t.mult), m); back != nil || n == 1 {
			if n > 1 {
				t.back = back.Uint64()
			}
			return t
		}
	}
}

func scramble(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// id is that of the block of a rank.
func (t *sizedTable) id(rank, block uint64) (id ID) {
	binary.BigEndian.PutUint64(id[:], rank*t.step+scramble(rank)%t.step)
	binary.LittleEndian.PutUint64(id[8:], block)
	id[31] = 1
	return id
}

// sizing makes one vault.
type sizing struct {
	sizedVault
	dir    string
	v      *Vault
	writer WriterID
	seq    uint64
	tables []sizedTable
	base   uint64 // blocks of a machine's first point

	pagePack  *pack.Writer
	pageFile  *os.File
	pageID    pack.ID
	pagePacks []segment.Pack
	pages     []segment.Entry
	enc       pack.Encoder
	rec       []byte
	points    []segment.Point
	began     time.Time
}

// makeSized makes a vault in a folder that is not there yet, around one real
// point of machine "real", whose segment is the oldest.
func makeSized(ctx context.Context, dir string, s sizedVault, say func(string, ...any)) error {
	if _, err := Create(ctx, dir, CreateOptions{}); err != nil {
		return err
	}
	o, err := Own(ctx, dir, OwnOptions{MinFree: -1})
	if err != nil {
		return err
	}
	real := make([]byte, 4<<20)
	generated{}.ReadAt(real, 0)
	if _, err := backUpSelfTold(ctx, o, "real", real); err != nil {
		return err
	}
	if err := o.Close(); err != nil {
		return err
	}
	v, err := Open(ctx, dir, Options{})
	if err != nil {
		return err
	}
	defer v.Close()
	z := &sizing{sizedVault: s, dir: dir, v: v, writer: o.claim.owner.Writer, seq: 1000, began: time.Now()}
	z.split()
	for _, step := range []struct {
		name string
		do   func() error
	}{{"segments", z.writeSegments}, {"pages and points", z.writePoints}, {"packs", z.writePacks}, {"index", z.writeIndex}} {
		began := time.Now()
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		say("made %s in %.0f s", step.name, time.Since(began).Seconds())
	}
	return nil
}

func (z *sizing) total() uint64 { return uint64(z.Blocks + z.Dead) }
func (z *sizing) packs() uint64 { return (z.total() + sizedPerPack - 1) / sizedPerPack }

// split cuts the blocks into tables at the borders of packs.
func (z *sizing) split() {
	z.base = uint64(z.Blocks/int64(z.Machines)) - uint64(z.Days-1)
	at := uint64(0)
	for i, share := range sizedShares {
		n := uint64(share*float64(z.total())) / sizedPerPack * sizedPerPack
		if i == len(sizedShares)-1 || at+n > z.total() {
			n = z.total() - at
		}
		if n > 0 {
			z.tables = append(z.tables, newSizedTable(at, n))
		}
		at += n
	}
}

func (z *sizing) blockID(x uint64) ID {
	i, found := slices.BinarySearchFunc(z.tables, x, func(t sizedTable, x uint64) int {
		switch {
		case t.first > x:
			return 1
		case t.first+t.n <= x:
			return -1
		}
		return 0
	})
	if !found {
		panic(fmt.Sprintf("block %d of %d", x, z.total()))
	}
	t := &z.tables[i]
	return t.id((x-t.first)*t.mult%t.n, x)
}

func (z *sizing) packID(q uint64) (id pack.ID) {
	binary.BigEndian.PutUint64(id[:], q*(^uint64(0)/z.packs()))
	binary.BigEndian.PutUint64(id[8:], q+1)
	return id
}

// recordsOf is how many records the q-th pack has.
func (z *sizing) recordsOf(q uint64) uint64 { return min(sizedPerPack, z.total()-q*sizedPerPack) }

func (z *sizing) packSize(q uint64) int64 { return sizedEnd + int64(z.recordsOf(q))*44 + 64 }

// segment writes one segment.
func (z *sizing) segment(points []segment.Point, fill func(*segment.Builder) ([]segment.Pack, error)) error {
	z.seq++
	name := segmentPath(z.writer, z.seq)
	f, err := os.Create(z.v.dir.Path(name))
	if err != nil {
		return err
	}
	defer f.Close()
	b := segment.NewBuilder(f, z.v.keys, name)
	packs, err := fill(b)
	if err != nil {
		return err
	}
	return b.Finish(segment.Head{Writer: z.writer.bytes(), Seq: z.seq, Created: time.Now(), Packs: packs}, points)
}

func (z *sizing) writeSegments() error {
	for i := range z.tables {
		t := &z.tables[i]
		err := z.segment(nil, func(b *segment.Builder) ([]segment.Pack, error) {
			q0 := t.first / sizedPerPack
			for rank, y := uint64(0), uint64(0); rank < t.n; rank++ {
				x := t.first + y
				e := segment.Entry{ID: t.id(rank, x), Pack: uint32(x/sizedPerPack - q0),
					Offset: uint32(sizedStart + x%sizedPerPack*sizedRecord), Length: sizedRecord}
				if err := b.Add(e); err != nil {
					return nil, err
				}
				if y += t.back; y >= t.n {
					y -= t.n
				}
			}
			var packs []segment.Pack
			for q := q0; q*sizedPerPack < t.first+t.n; q++ {
				packs = append(packs, segment.Pack{ID: z.packID(q), Size: z.packSize(q), Records: uint32(z.recordsOf(q)), Class: 1})
			}
			return packs, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// writePacks makes packs of blocks: a header and a hole, and a footer where
// nothing in the pack is named.
func (z *sizing) writePacks() error {
	for q := range z.packs() {
		id := z.packID(q)
		name := z.v.dir.Path(packPath(z.writer, id))
		if q%64 == 0 || q < 256 {
			if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
				return err
			}
		}
		f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
		if os.IsNotExist(err) {
			if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
				return err
			}
			f, err = os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
		}
		if err != nil {
			return err
		}
		if q*sizedPerPack >= uint64(z.Blocks) {
			err = z.deadPack(f, q)
		}
		if err == nil {
			err = f.Truncate(z.packSize(q))
		}
		if err := f.Close(); err != nil {
			return err
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// deadPack writes what of a pack sweep reads before it removes it.
func (z *sizing) deadPack(f *os.File, q uint64) error {
	id := z.packID(q)
	h := pack.Header{ID: id, Writer: z.writer.bytes(), Class: pack.Blocks, Created: time.Now().Add(-100 * 24 * time.Hour), VaultName: z.v.name, Vault: z.v.raw}
	w := bufio.NewWriter(f)
	if _, err := pack.NewWriter(f, h, z.v.keys); err != nil {
		return err
	}
	foot := make([]byte, 0, z.recordsOf(q)*44+64)
	for i := range z.recordsOf(q) {
		b := z.blockID(q*sizedPerPack + i)
		foot = append(foot, b[:]...)
		foot = binary.LittleEndian.AppendUint32(foot, uint32(sizedStart+i*sizedRecord))
		foot = binary.LittleEndian.AppendUint32(foot, sizedRecord)
		foot = append(foot, byte(content.Block), 0, 0, 0)
	}
	if _, err := f.Seek(sizedEnd, 0); err != nil {
		return err
	}
	w.Write(foot) // its error comes back from Flush
	w.Write(packTrailer(id, sizedEnd, foot))
	return w.Flush()
}

// writeIndex enters the packs without their blocks: enough for an owner that
// sweeps, a sixth of the size.
func (z *sizing) writeIndex() error {
	x, err := index.Open(filepath.Join(z.dir, indexDir, string(z.writer)), nil)
	if err != nil {
		return err
	}
	var ids [][16]byte
	var records []uint32
	for q := range z.packs() {
		ids, records = append(ids, z.packID(q)), append(records, uint32(z.recordsOf(q)))
	}
	for _, p := range z.pagePacks {
		ids, records = append(ids, p.ID), append(records, p.Records)
	}
	l, err := x.Load(ids)
	if err != nil {
		return err
	}
	defer l.Cancel()
	if err := l.Finish(records); err != nil {
		return err
	}
	return x.Close()
}

func packTrailer(id pack.ID, footerAt uint64, foot []byte) []byte {
	t := make([]byte, 64)
	binary.LittleEndian.PutUint64(t, footerAt)
	binary.LittleEndian.PutUint32(t[8:], uint32(len(foot)/44))
	binary.LittleEndian.PutUint32(t[12:], crc32.Checksum(foot, crc32.MakeTable(crc32.Castagnoli)))
	copy(t[16:32], id[:])
	binary.LittleEndian.PutUint16(t[32:], 1)
	binary.LittleEndian.PutUint32(t[56:], crc32.Checksum(t[:56], crc32.MakeTable(crc32.Castagnoli)))
	copy(t[60:], "HFPE")
	return t
}
