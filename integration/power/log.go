package power

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
)

const (
	// entryHeader is what comes before the data of a log's entry: offset on
	// the disk and length, each u64, little-endian.
	entryHeader = 16
	// flushMark takes the offset's place in a flush.
	flushMark = -1
	// unit is what a disk writes whole or not at all, in bytes.
	unit = 4096
)

// Log is what was written to a disk, in order.
type Log struct {
	f       *os.File
	entries []entry
}

// entry is a write, or a flush.
type entry struct {
	end    int64 // of the entry in the log
	off, n int64 // on the disk; off is flushMark in a flush
}

// OpenLog reads the log that [Serve] wrote.
func OpenLog(name string) (*Log, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	l := &Log{f: f}
	for at := int64(0); ; {
		var head [entryHeader]byte
		if _, err := f.ReadAt(head[:], at); errors.Is(err, io.EOF) {
			return l, nil
		} else if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		e := entry{off: int64(binary.LittleEndian.Uint64(head[:])), n: int64(binary.LittleEndian.Uint64(head[8:]))}
		at += entryHeader + e.n
		e.end = at
		l.entries = append(l.entries, e)
	}
}

// Close closes the log.
func (l *Log) Close() error { return l.f.Close() }

// Flushes returns how often the disk was flushed.
func (l *Log) Flushes() (n int) {
	for _, e := range l.entries {
		if e.off == flushMark {
			n++
		}
	}
	return n
}

// Player writes a log's entries to a disk, one flush after the other.
type Player struct {
	log  *Log
	disk *os.File
	next int // entry
}

// Play begins with a disk as it was before the first entry, which it changes.
func (l *Log) Play(disk *os.File) *Player { return &Player{log: l, disk: disk} }

// Flush writes up to the next flush. It returns false at the end of the log.
func (p *Player) Flush() (bool, error) {
	for p.next < len(p.log.entries) {
		e := p.log.entries[p.next]
		p.next++
		if e.off == flushMark {
			return true, nil
		}
		data, err := p.log.data(e)
		if err != nil {
			return false, err
		}
		if _, err := p.disk.WriteAt(data, e.off); err != nil {
			return false, err
		}
	}
	return false, nil
}

// Cut takes the power away at some instant before the next flush: onto lost, a
// copy of the player's disk, it writes some units of what was written since
// the last one. It returns the size that the log had at that instant.
func (p *Player) Cut(lost *os.File, r *rand.Rand) (at int64, err error) {
	var pending []entry
	for _, e := range p.log.entries[p.next:] {
		if e.off == flushMark {
			break
		}
		pending = append(pending, e)
	}
	if p.next > 0 {
		at = p.log.entries[p.next-1].end
	}
	if len(pending) > 0 {
		pending = pending[:r.IntN(len(pending)+1)]
	}
	share := []float64{0, 0.1, 0.5, 0.9, 1}[r.IntN(5)]
	for _, e := range pending {
		at = e.end
		data, err := p.log.data(e)
		if err != nil {
			return 0, err
		}
		if err := tear(lost, e.off, data, share, r); err != nil {
			return 0, err
		}
	}
	return at, nil
}

// tear writes a share of the units of a write.
func tear(disk *os.File, off int64, data []byte, share float64, r *rand.Rand) error {
	for len(data) > 0 {
		n := min(unit-off%unit, int64(len(data)))
		if r.Float64() < share {
			if _, err := disk.WriteAt(data[:n], off); err != nil {
				return err
			}
		}
		off, data = off+n, data[n:]
	}
	return nil
}

func (l *Log) data(e entry) ([]byte, error) {
	b := make([]byte, e.n)
	if _, err := l.f.ReadAt(b, e.end-e.n); err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	return b, nil
}
