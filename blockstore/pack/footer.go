package pack

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

func encodeFooter(id ID, offset int64, entries []Entry) []byte {
	n := len(entries) * entrySize
	b := make([]byte, n+trailerSize)
	for i, e := range entries {
		p := b[i*entrySize:]
		copy(p, e.ID[:])
		le.PutUint32(p[32:], e.Offset)
		le.PutUint32(p[36:], e.Length)
		p[40] = byte(e.Kind)
	}
	t := b[n:]
	le.PutUint64(t, uint64(offset))
	le.PutUint32(t[8:], uint32(len(entries)))
	le.PutUint32(t[12:], crc(b[:n]))
	copy(t[16:32], id[:])
	le.PutUint16(t[32:], Version)
	le.PutUint32(t[56:], crc(t[:56]))
	copy(t[60:], trailerMagic)
	return b
}

// ReadFooter reads the list of records of a sealed pack of size bytes whose
// name says that it is id.
func ReadFooter(r io.ReaderAt, size int64, id ID) ([]Entry, error) {
	if size < headerSize+crcSize+trailerSize {
		return nil, damaged("%d bytes are too few for a pack", size)
	}
	t := make([]byte, trailerSize)
	if _, err := r.ReadAt(t, size-trailerSize); err != nil {
		return nil, shortRead("trailer", err)
	}
	if string(t[60:]) != trailerMagic || crc(t[:56]) != le.Uint32(t[56:]) {
		return nil, damaged("it does not end as a pack does")
	}
	if v := le.Uint16(t[32:]); v != Version {
		return nil, versionError(v)
	}
	if ID(t[16:32]) != id {
		return nil, damaged("it is pack %s under another name", ID(t[16:32]))
	}
	offset, count := le.Uint64(t), int64(le.Uint32(t[8:]))
	if offset < headerSize+crcSize || offset > math.MaxUint32 || count > MaxRecords || int64(offset)+count*entrySize+trailerSize != size {
		return nil, damaged("the trailer's numbers do not fit the size of %d bytes", size)
	}
	b := make([]byte, count*entrySize)
	if _, err := r.ReadAt(b, int64(offset)); err != nil {
		return nil, shortRead("footer", err)
	}
	if crc(b) != le.Uint32(t[12:]) {
		return nil, damaged("the footer's checksum is wrong")
	}
	return decodeEntries(b, int64(offset))
}

func decodeEntries(b []byte, end int64) ([]Entry, error) {
	entries := make([]Entry, len(b)/entrySize)
	for i := range entries {
		p := b[i*entrySize:]
		e := Entry{content.ID(p[:32]), content.Kind(p[40]), Location{le.Uint32(p[32:]), le.Uint32(p[36:])}}
		if !e.Kind.Valid() { // the checksum is right: a later version wrote it
			return nil, fmt.Errorf("entry %d of the footer is of %v: %w", i, e.Kind, ErrVersion)
		}
		if e.Location.End() > end || e.Offset < headerSize+crcSize || e.Length <= RecordHeaderSize || e.Length > MaxRecord {
			return nil, damaged("entry %d of the footer is impossible", i)
		}
		entries[i] = e
	}
	return entries, nil
}

func versionError(v uint16) error {
	return fmt.Errorf("pack of version %d, this program knows %d: %w", v, Version, ErrVersion)
}

// shortRead turns the end of a file into damage; other errors stay what they are.
func shortRead(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("it ends within its %s", what)
	}
	return fmt.Errorf("read %s: %w", what, err)
}
