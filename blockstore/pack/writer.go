package pack

import (
	"fmt"
	"io"
	"math"
	"slices"
	"sync"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// Writer appends records to a pack. Append may be called by several goroutines
// at once.
type Writer struct {
	w      io.WriterAt
	header Header
	sealer *Opener // nil: records are not sealed

	writes sync.WaitGroup // records that have a place and are being written

	mu      sync.Mutex
	end     int64   // offset of the next record
	entries []Entry // index: ordinal
	err     error   // the first failure; the pack is worth nothing then
}

// NewWriter writes the header of a pack to w. Keys seal its records, if the
// header says so.
func NewWriter(w io.WriterAt, h Header, keys *content.Keys) (*Writer, error) {
	var sealer *Opener
	if h.Seal != Unsealed {
		sealer = NewOpener(keys, h.ID, h.Seal)
	}
	b := h.encode()
	if len(b) > maxHeader || len(h.VaultName) > math.MaxUint16 {
		return nil, fmt.Errorf("header of pack %s has %d bytes, at most %d are allowed", h.ID, len(b), maxHeader)
	}
	if _, err := w.WriteAt(b, 0); err != nil {
		return nil, err
	}
	return &Writer{w: w, header: h, sealer: sealer, end: int64(len(b))}, nil
}

// ID is the pack's.
func (w *Writer) ID() ID { return w.header.ID }

// Size returns the bytes and records so far.
func (w *Writer) Size() (bytes int64, records int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.end, len(w.entries)
}

// Append gives a record of [Encoder.Encode] its place, completes it in rec,
// sealing it where the pack is sealed, and writes it.
func (w *Writer) Append(rec []byte) (Location, error) {
	at, ordinal, err := w.reserve(rec)
	if err != nil {
		return Location{}, err
	}
	defer w.writes.Done()
	le.PutUint32(rec[8:], ordinal)
	if w.sealer != nil {
		rec = w.sealer.sealRecord(rec)
	}
	le.PutUint32(rec[RecordHeaderSize-crcSize:], checkSum(rec))
	if _, err := w.w.WriteAt(rec, int64(at.Offset)); err != nil {
		err = fmt.Errorf("write pack %s: %w", w.header.ID, err)
		w.fail(err)
		return Location{}, err
	}
	return at, nil
}

func (w *Writer) reserve(rec []byte) (Location, uint32, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return Location{}, 0, w.err
	}
	if w.end+w.length(rec) > math.MaxUint32 || len(w.entries) == MaxRecords {
		return Location{}, 0, fmt.Errorf("pack %s is full: it has at most 4 GiB and %d records", w.header.ID, MaxRecords)
	}
	at := Location{uint32(w.end), uint32(w.length(rec))}
	ordinal := uint32(len(w.entries))
	w.entries = append(w.entries, Entry{content.ID(rec[20:52]), content.Kind(rec[4]), at})
	w.end += w.length(rec)
	w.writes.Add(1)
	return at, ordinal, nil
}

// length is how long a record will be in the pack.
func (w *Writer) length(rec []byte) int64 {
	if w.sealer != nil {
		return int64(len(rec)) + tagSize
	}
	return int64(len(rec))
}

func (w *Writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

// Seal waits for appends that are under way, writes the footer and returns its
// entries and the pack's size. No Append may follow. Making the file durable is the
// caller's part.
func (w *Writer) Seal() ([]Entry, int64, error) {
	w.writes.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return nil, 0, w.err
	}
	tail := encodeFooter(w.header.ID, w.end, w.entries)
	if _, err := w.w.WriteAt(tail, w.end); err != nil {
		w.err = fmt.Errorf("write footer of pack %s: %w", w.header.ID, err)
		return nil, 0, w.err
	}
	return slices.Clip(w.entries), w.end + int64(len(tail)), nil
}
