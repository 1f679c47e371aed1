package segment

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// Table is an open segment, mapped into memory or read from its file. It is
// safe for concurrent use; the mapping, or the file, lasts as long as the Table
// is reachable, also when its name is removed.
type Table struct {
	Name string
	Head
	Count int64 // entries

	entries []byte       // mapped; nil: they are read
	file    *fileEntries // nil: they are mapped
	points  []byte       // mapped, or a copy
	fan     []byte       // mapped, or a copy
	fanBits int
	mac     [content.MACSize]byte // of the entries
	bytes   int64
}

// Open maps the segment in the file at path. Name is the file's name relative to the vault.
// All but the entries themselves is verified; [Table.Verify] reads those.
func Open(path, name string, keys *content.Keys) (*Table, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe must not hold us up
	if err != nil {
		return nil, err
	}
	defer f.Close() // the mapping stays
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("open segment %s: %w", name, damaged("it is no file"))
	}
	if st.Size() < headerSize+trailerSize {
		return nil, fmt.Errorf("open segment %s: %w", name, damaged("%d bytes are too few", st.Size()))
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map segment %s: %w", name, err)
	}
	t := &Table{Name: name, bytes: st.Size()}
	runtime.AddCleanup(t, func(m []byte) { unix.Munmap(m) }, m)
	if err := t.parse(keys, func(off, n int64) []byte { return m[off : off+n : off+n] }); err != nil {
		return nil, fmt.Errorf("open segment %s: %w", name, err)
	}
	return t, nil
}

// parse finds and verifies the parts of a segment, which part returns, or
// panics with a readError.
func (t *Table) parse(keys *content.Keys, part func(off, n int64) []byte) (err error) {
	defer unguard(&err, debug.SetPanicOnFault(true))
	head, trailer := part(0, headerSize), part(t.bytes-trailerSize, trailerSize)
	if string(head[:8]) != magic || string(trailer[132:]) != endMagic {
		return damaged("it does not begin and end as a segment does")
	}
	v := le.Uint16(head[8:])
	if v != le.Uint16(trailer[48:]) {
		return damaged("it begins as version %d and ends as another", v)
	}
	if v != Version {
		return fmt.Errorf("segment of version %d, this program knows %d: %w", v, Version, ErrVersion)
	}
	if [6]byte(head[10:16]) != [6]byte{} || le.Uint32(trailer[128:]) != 0 { // no MAC covers these
		return damaged("its reserved bytes are not zero")
	}
	size, count, packs := uint64(t.bytes), le.Uint64(trailer[24:]), uint64(le.Uint32(trailer[32:]))
	fanBits, points := le.Uint32(trailer[36:]), le.Uint64(trailer[40:])
	if count > size/EntrySize || fanBits > maxFanBits || points > size || points > maxHeadBytes ||
		headerSize+count*EntrySize+packs*packSize+points+4<<fanBits+trailerSize != size {
		return damaged("its lengths do not add up to its %d bytes", size)
	}
	if t.file == nil {
		t.entries = part(headerSize, int64(count*EntrySize))
	}
	rest := part(int64(headerSize+count*EntrySize), int64(packs*packSize+points+4<<fanBits))
	cut := func(n uint64) (part []byte) { part, rest = rest[:n:n], rest[n:]; return part }
	packBytes, pointBytes := cut(packs*packSize), cut(points)
	t.fan = cut(4 << fanBits)
	if !keys.Verify([32]byte(trailer[96:128]), t.Name, packBytes, pointBytes, t.fan, trailer[:96]) {
		return damaged("its MAC is wrong")
	}
	t.Writer, t.Seq = [8]byte(trailer[:8]), le.Uint64(trailer[8:])
	t.Created = time.Unix(0, int64(le.Uint64(trailer[16:]))).UTC()
	t.Count, t.fanBits, t.mac = int64(count), int(fanBits), [32]byte(trailer[64:96])
	t.Packs = decodePacks(packBytes)
	t.points = pointBytes
	if err := checkPacks(t.Packs); err != nil {
		return err
	}
	return eachPoint(t.points, func(Point) error { return nil })
}

// entry returns the bytes of the entry at index i, or panics with a readError.
func (t *Table) entry(i int64) []byte {
	if t.file != nil {
		return t.file.entry(i, t.Count)
	}
	return t.entries[i*EntrySize : (i+1)*EntrySize]
}

// EachPoint calls fn for each point that the segment tells of. A point's
// record is mapped memory: it is not changed, nor kept longer than the Table.
func (t *Table) EachPoint(fn func(Point) error) (err error) {
	defer unguard(&err, debug.SetPanicOnFault(true))
	defer runtime.KeepAlive(t)
	return eachPoint(t.points, func(p Point) error {
		if p.Event == Removed {
			return nil
		}
		return fn(p)
	})
}

// EachRemoved calls fn with the path of each pack that the segment tells to be
// removed.
func (t *Table) EachRemoved(fn func(path string)) (err error) {
	defer unguard(&err, debug.SetPanicOnFault(true))
	defer runtime.KeepAlive(t)
	return eachPoint(t.points, func(p Point) error {
		if p.Event == Removed {
			fn(p.Path)
		}
		return nil
	})
}

// Bytes is the size of the segment's file.
func (t *Table) Bytes() int64 { return t.bytes }

// Entry returns the entry at index i, from 0 to Count-1, in order of IDs.
func (t *Table) Entry(i int64) (e Entry, err error) {
	defer unguard(&err, debug.SetPanicOnFault(true))
	if i < 0 || i >= t.Count {
		return e, fmt.Errorf("segment %s: entry %d of %d", t.Name, i, t.Count)
	}
	return t.decode(i)
}

// decode reads an entry; the caller guards.
func (t *Table) decode(i int64) (e Entry, err error) {
	p := t.entry(i)
	e = Entry{content.ID(p[:32]), le.Uint32(p[32:]), le.Uint32(p[36:]), le.Uint32(p[40:])}
	runtime.KeepAlive(t)
	if int(e.Pack) >= len(t.Packs) || e.Length > maxRecord || int64(e.Offset)+int64(e.Length) > t.Packs[e.Pack].Size {
		return e, fmt.Errorf("segment %s: %w", t.Name, damaged("entry %d is impossible", i))
	}
	return e, nil
}

// Find returns the indices of the first entry of id and of the one after its
// last; they are equal when there is none.
func (t *Table) Find(id content.ID) (first, after int64, err error) {
	defer unguard(&err, debug.SetPanicOnFault(true))
	first = t.lowerBound(id)
	for after = first; after < t.Count && content.ID(t.id(after)) == id; after++ {
	}
	runtime.KeepAlive(t)
	return first, after, nil
}

func (t *Table) id(i int64) []byte { return t.entry(i)[:content.IDSize] }

// lowerBound returns the index of the first entry whose ID is not below id.
// The entries lo..hi of one value of the fan-out are narrowed by guessing where
// an evenly spread id would lie; a guess that does not halve the range is followed by one that does.
func (t *Table) lowerBound(id content.ID) int64 {
	lo, hi := t.bucket(id)
	key := binary.BigEndian.Uint64(id[:])
	first, last := bucketKeys(key, t.fanBits)
	for guess := true; lo < hi; {
		mid := lo + (hi-lo)/2
		if guess && last > first {
			mid = lo + int64(float64(hi-lo-1)*(float64(key-first)/float64(last-first)))
			mid = min(max(mid, lo), hi-1)
		}
		before := hi - lo
		at := (*content.ID)(t.id(mid))
		if c := compareIDs(at, &id); c < 0 {
			lo, first = mid+1, min(binary.BigEndian.Uint64(at[:]), key)
		} else {
			hi, last = mid, max(binary.BigEndian.Uint64(at[:]), key)
		}
		guess = hi-lo <= before/2 || !guess
	}
	return lo
}

// bucket returns the range of entries with the same first bits as id.
func (t *Table) bucket(id content.ID) (lo, hi int64) {
	b := int(binary.BigEndian.Uint16(id[:])) >> (maxFanBits - t.fanBits)
	if b > 0 {
		lo = int64(le.Uint32(t.fan[4*(b-1):]))
	}
	hi = int64(le.Uint32(t.fan[4*b:]))
	return min(lo, t.Count), min(hi, t.Count)
}

// bucketKeys returns the smallest and the largest key with the same first n
// bits.
func bucketKeys(key uint64, n int) (first, last uint64) {
	mask := ^uint64(0) >> n
	return key &^ mask, key | mask
}

// Verify reads all entries and compares their MAC; it also finds entries out
// of order and a fan-out that is not theirs, by which look-ups would miss them.
func (t *Table) Verify(keys *content.Keys) (err error) {
	defer unguard(&err, debug.SetPanicOnFault(true))
	if t.macOfEntries(keys) != t.mac {
		return fmt.Errorf("segment %s: %w", t.Name, damaged("the MAC of its entries is wrong"))
	}
	fan := new(fanCount)
	var last content.ID
	for i := range t.Count {
		id := (*content.ID)(t.id(i))
		fan.add(id)
		if i > 0 && compareIDs(&last, id) > 0 {
			return fmt.Errorf("segment %s: %w", t.Name, damaged("entry %d is out of order", i))
		}
		last = *id
	}
	if !bytes.Equal(fan.out(t.fanBits), t.fan) {
		return fmt.Errorf("segment %s: %w", t.Name, damaged("its fan-out is not that of its entries"))
	}
	runtime.KeepAlive(t)
	return nil
}

// macOfEntries is the MAC that the entries have.
func (t *Table) macOfEntries(keys *content.Keys) [content.MACSize]byte {
	mac := keys.NewMAC(t.Name)
	if t.file == nil {
		mac.Write(t.entries)
		return mac.Sum()
	}
	for i := int64(0); i < t.Count; i += chunkEntries {
		mac.Write(t.file.chunk(i, t.Count).b)
	}
	return mac.Sum()
}

// unguard, deferred, turns a fault in mapped memory (an unreadable sector, a file cut
// short), and an error of reading, into an error of the function that defers it.
// Was is what the goroutine did about faults before. It is no closure, so that a
// look-up allocates nothing.
func unguard(err *error, was bool) {
	debug.SetPanicOnFault(was)
	if r := recover(); r != nil {
		if e, ok := r.(readError); ok {
			*err = e.err
			return
		}
		fault, ok := r.(interface{ Addr() uintptr })
		if !ok {
			panic(r)
		}
		*err = damaged("cannot read its mapped memory at %#x", fault.Addr())
	}
}
