package pack

import (
	"bytes"
	"errors"
	"io"
)

// Salvage finds the records of a pack whose footer is lost, by looking for
// where records begin, and calls fn for each whose content hashes to its ID.
// Guests choose the content of blocks, so that anything that looks like a record may lie
// within one: only the hash, whose key they do not know, admits it. Ordinals
// are those of the order found. Memory is bounded by the largest record.
func Salvage(r io.ReaderAt, size int64, o *Opener, fn func(Entry) error) error {
	const window = 4 << 20
	buf := make([]byte, min(max(size, 0), window+RecordHeaderSize+MaxContent))
	plain := make([]byte, MaxContent)
	for at := int64(0); at < size; {
		n, err := r.ReadAt(buf, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if n == 0 {
			return nil
		}
		step, err := salvageWindow(buf[:n], min(n, window), at, o, plain, fn)
		if err != nil {
			return err
		}
		at += int64(step)
	}
	return nil
}

// salvageWindow looks at the records that begin in the first limit bytes of b
// and returns how far it got, which is beyond limit when the last reaches over.
func salvageWindow(b []byte, limit int, base int64, o *Opener, plain []byte, fn func(Entry) error) (int, error) {
	at := 0
	for at < limit {
		i := bytes.Index(b[at:], []byte(recordMagic))
		if i < 0 || at+i >= limit {
			break
		}
		at += i
		e, ok := admit(b[at:], o, plain)
		if !ok {
			at++
			continue
		}
		e.Offset = uint32(base + int64(at))
		if err := fn(e); err != nil {
			return 0, err
		}
		at += int(e.Length)
	}
	return max(at, limit), nil
}

// admit tells whether b begins with a whole record whose content is its own.
func admit(b []byte, o *Opener, plain []byte) (Entry, bool) {
	h, err := parseRecord(b)
	if err != nil || len(b) < RecordHeaderSize+int(h.stored) {
		return Entry{}, false
	}
	rec := b[:RecordHeaderSize+int(h.stored)]
	// The checksum goes first: a block full of beginnings of records would cost
	// a hash of all that follows for each of them.
	if CheckSum(rec) != nil || o.Decode(h.kind, h.id, rec, plain[:h.plain]) != nil {
		return Entry{}, false
	}
	return Entry{h.id, h.kind, Location{Length: uint32(len(rec))}}, true
}
