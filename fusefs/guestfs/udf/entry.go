package udf

import (
	"fmt"
	"io/fs"
	"time"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Kinds of files: ECMA-167 4/14.6.6, UDF 2.60 2.3.5.2.
const (
	typeNone     = 0
	typeFolder   = 4
	typeRegular  = 5
	typeBlock    = 6
	typeChar     = 7
	typePipe     = 9
	typeSocket   = 10
	typeLink     = 12
	typeStreams  = 13
	typeVirtual  = 248
	typeRealtime = 249
	typeMetadata = 250
	typeMirror   = 251
)

const (
	strategyPlain  = 4
	strategyChain  = 4096 // what follows in the next block says where a newer entry is
	maxGenerations = 1024
	maxSize        = 1 << 62

	flagsForm  = 7 // of extents: see extents.go
	flagSetuid = 1 << 6
	flagSetgid = 1 << 7
	flagSticky = 1 << 8
)

// entry is a file entry or an extended one.
type entry struct {
	ref        uint16 // the partition in which its short extents are
	block      uint32
	at         int64 // of the volume, bytes
	kind       byte
	flags      uint16
	uid, gid   uint32
	permission uint32
	links      uint16
	size       int64
	recorded   uint64 // blocks
	times      [4]time.Time
	streams    long
	attributes []byte
	extents    []byte
}

// Times of an entry.
const (
	accessed = iota
	modified
	changed
	created
)

func (e *entry) folder() bool { return e.kind == typeFolder || e.kind == typeStreams }

// long is an extent that names its partition.
type long struct {
	length uint32 // its kind is in the upper two bits
	block  uint32
	ref    uint16
}

func longOf(b []byte) long { return long{le.Uint32(b), le.Uint32(b[4:]), le.Uint16(b[8:])} }

// inoOf is never 0.
func inoOf(ref uint16, block uint32) uint64 { return uint64(ref)<<32 + uint64(block) + 1 }

// readBlock reads one block of a partition.
func (v *volume) readBlock(ref uint16, block uint32) ([]byte, int64, error) {
	if int(ref) >= len(v.parts) || v.parts[ref] == nil {
		return nil, 0, corrupt("the volume", -1, "something lies in partition %d of %d", ref, len(v.parts))
	}
	at, _, err := v.parts[ref].locate(block, 1)
	if err != nil {
		return nil, 0, err
	}
	b := make([]byte, v.block)
	return b, at * v.block, v.read(b, at*v.block)
}

func (v *volume) read(b []byte, at int64) error {
	if err := tree.ReadFull(v.r, b, at); err != nil {
		return fmt.Errorf("%d bytes at %d of the volume: %w", len(b), at, err)
	}
	return nil
}

// entry returns the file entry of an inode number: fs.ErrNotExist where none is in use.
func (v *volume) entry(ino uint64) (*entry, error) {
	if e, ok := v.entries.Get(ino); ok {
		return e, nil
	}
	ref, block := (ino-1)>>32, uint32(ino-1)
	if ino == 0 || ref >= uint64(len(v.parts)) {
		return nil, fmt.Errorf("inode %d: %w", ino, fs.ErrNotExist)
	}
	e, err := v.readEntry(uint16(ref), block, 0)
	if err != nil {
		return nil, err
	}
	if e.links == 0 && e.kind != typeStreams && ino != v.root {
		return nil, fmt.Errorf("inode %d was deleted: %w", ino, fs.ErrNotExist)
	}
	v.entries.Put(ino, e, int64(len(e.attributes)+len(e.extents))+400)
	return e, nil
}

// readEntry reads the newest generation of an entry. In a partition of metadata a block
// that is damaged is read from the mirror.
func (v *volume) readEntry(ref uint16, block uint32, generation int) (*entry, error) {
	b, at, err := v.readBlock(ref, block)
	var e *entry
	if err == nil {
		e, err = v.parseEntry(b, ref, block, at)
	}
	if err != nil && int(ref) < len(v.parts) {
		if m, ok := v.parts[ref].(*metadata); ok && m.mirror != nil {
			if at, _, err2 := m.mirror.locate(int64(block)*v.block, v.block); err2 == nil && v.read(b, at*v.block) == nil {
				if second, err2 := v.parseEntry(b, ref, block, at*v.block); err2 == nil {
					e, err = second, nil
				}
			}
		}
	}
	if err != nil || le.Uint16(b[20:]) != strategyChain || generation > maxGenerations {
		return e, err
	}
	if b, _, err = v.readBlock(ref, block+1); err != nil || checkTag(b, tagIndirect, block+1) != nil {
		return e, nil // there is no newer one
	}
	next := longOf(b[36:])
	if next.length == 0 {
		return e, nil
	}
	newer, err := v.readEntry(next.ref, next.block, generation+1)
	if err != nil {
		return e, nil // a write that was not finished
	}
	return newer, nil
}

// parseEntry reads both kinds, whose fields lie at two places.
func (v *volume) parseEntry(b []byte, ref uint16, block uint32, at int64) (*entry, error) {
	what := fmt.Sprintf("file entry %d", inoOf(ref, block))
	kind := uint16(tagEntry)
	if le.Uint16(b) == tagExtendEntry {
		kind = tagExtendEntry
	}
	if err := checkTag(b, kind, block); err != nil {
		return nil, corrupt(what, at, "%v", err)
	}
	e := &entry{ref: ref, block: block, at: at, kind: b[27], flags: le.Uint16(b[34:]), uid: le.Uint32(b[36:]), gid: le.Uint32(b[40:]),
		permission: le.Uint32(b[44:]), links: le.Uint16(b[48:]), size: int64(le.Uint64(b[56:]))}
	lengths := 168
	if kind == tagEntry {
		e.recorded = le.Uint64(b[64:])
		e.times = [4]time.Time{timestamp(b[72:]), timestamp(b[84:]), timestamp(b[96:]), {}}
	} else {
		lengths = 208
		e.recorded = le.Uint64(b[72:])
		e.times = [4]time.Time{timestamp(b[80:]), timestamp(b[92:]), timestamp(b[116:]), timestamp(b[104:])}
		e.streams = longOf(b[152:])
	}
	first, second := int64(le.Uint32(b[lengths:])), int64(le.Uint32(b[lengths+4:]))
	from := int64(lengths + 8)
	switch {
	case from+first+second > int64(len(b)):
		return nil, corrupt(what, at, "%d bytes of attributes and %d of extents do not fit into it", first, second)
	case e.size < 0 || e.size > maxSize:
		return nil, corrupt(what, at, "it has %d bytes", uint64(e.size))
	}
	// Of their own, so that a cache does not keep the block.
	e.attributes = append([]byte{}, b[from:from+first]...)
	e.extents = append([]byte{}, b[from+first:from+first+second]...)
	return e, nil
}

// timestamp is ECMA-167 1/7.3: no time where it is no date.
func timestamp(b []byte) time.Time {
	zone := int16(le.Uint16(b)<<4) >> 4 // minutes
	if le.Uint16(b)>>12 != 1 || zone < -1440 || zone > 1440 {
		zone = 0 // not known, or no local time
	}
	year, month, day, hour, minute, second := int(int16(le.Uint16(b[2:]))), int(b[4]), int(b[5]), int(b[6]), int(b[7]), int(b[8])
	if year < 1 || year > 9999 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60 {
		return time.Time{}
	}
	micros := int(b[9])*10_000 + int(b[10])*100 + int(b[11])
	if b[9] > 99 || b[10] > 99 || b[11] > 99 {
		micros = 0
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, micros*1000, time.UTC).Add(-time.Duration(zone) * time.Minute)
}
