package blockstore

import (
	"errors"
	"io"
	"os"
)

const (
	// spillParts is into how many parts records are sorted when they do not
	// fit into memory any more.
	spillParts = 256
	// spillFlushes is how many writes of a part follow each other in the file.
	spillFlushes = 16
)

// errNoSpill reports that no more records can be taken: memory is full, and
// there is no room for a file.
var errNoSpill = errors.New("no room for a scratch file")

// spill gathers records of one length, more than memory holds, and gives them
// back in chunks. Once they go to a file they are sorted into parts, so that a
// chunk holds records of one part only: what it is compared with, if that is
// in the same order, is a small part of the whole.
type spill struct {
	size   int                   // bytes of a record
	memory int                   // bytes kept until a file is needed
	part   func(rec []byte) byte // which part a record belongs to
	open   func() (*os.File, error)
	room   func(bytes int64) error // tells whether so much more may be written

	mem     []byte
	parts   []spillPart // nil: all is in mem
	f       *os.File    // nil: none was needed yet
	end     int64       // of f
	noFile  bool        // none can be had
	spilled int64       // bytes written to f, ever
}

// spillPart is one part: what is in the file and what is not yet.
type spillPart struct {
	buf     []byte
	regions []int64 // where in the file; all but the last are full
	writes  int     // in the last region
}

// add takes a record. After errNoSpill it was not taken: it is to be added
// again when all others were given back.
func (s *spill) add(rec []byte) error {
	if s.parts == nil {
		if len(s.mem)+s.size <= s.memory || len(s.mem) == 0 {
			s.mem = append(s.mem, rec...)
			return nil
		}
		if err := s.begin(); err != nil {
			return err
		}
	}
	return s.addToPart(rec)
}

// begin moves to the file.
func (s *spill) begin() (err error) {
	if s.noFile {
		return errNoSpill
	}
	if s.f == nil {
		if s.f, err = s.open(); err != nil {
			s.noFile = true
			return errNoSpill
		}
	}
	s.parts = make([]spillPart, spillParts)
	for len(s.mem) > 0 { // each record is at any moment in one place
		rec := s.mem[len(s.mem)-s.size:]
		if err := s.addToPart(rec); err != nil {
			return err
		}
		s.mem = s.mem[:len(s.mem)-s.size]
	}
	s.mem = nil
	return nil
}

// bufferSize is how much of a part is kept until it is written: whole records.
func (s *spill) bufferSize() int { return max(s.memory/spillParts/s.size, 1) * s.size }

func (s *spill) addToPart(rec []byte) error {
	p := &s.parts[s.part(rec)]
	if len(p.buf) == s.bufferSize() {
		if err := s.flush(p); err != nil {
			return err
		}
	}
	if p.buf == nil {
		p.buf = make([]byte, 0, s.bufferSize())
	}
	p.buf = append(p.buf, rec...)
	return nil
}

// flush writes the full buffer of a part.
func (s *spill) flush(p *spillPart) error {
	if s.noFile {
		return errNoSpill
	}
	at, size := s.end, int64(len(p.buf))
	inRegion := len(p.regions) > 0 && p.writes < spillFlushes
	if inRegion {
		at = p.regions[len(p.regions)-1] + int64(p.writes)*size
	}
	err := s.room(size)
	if err == nil {
		_, err = s.f.WriteAt(p.buf, at)
	}
	if err != nil {
		s.noFile = true
		return errNoSpill
	}
	if inRegion {
		p.writes++
	} else {
		p.regions, p.writes = append(p.regions, at), 1
		s.end += spillFlushes * size
	}
	s.spilled += size
	p.buf = p.buf[:0]
	return nil
}

// each gives all records back, in chunks of at most so many bytes that are
// valid during the call, and forgets them.
func (s *spill) each(chunk int, fn func(recs []byte) error) error {
	if len(s.mem) > 0 {
		if err := fn(s.mem); err != nil {
			return err
		}
		s.mem = s.mem[:0]
	}
	chunk = max(chunk/s.bufferSize(), 1) * s.bufferSize()
	buf := []byte(nil)
	for i := range s.parts {
		p := &s.parts[i]
		if cap(buf) == 0 {
			buf = make([]byte, 0, chunk)
		}
		if err := s.eachOf(p, buf, fn); err != nil {
			return err
		}
		s.parts[i] = spillPart{}
	}
	s.parts, s.end = nil, 0
	if s.f == nil {
		return nil
	}
	return s.f.Truncate(0)
}

func (s *spill) eachOf(p *spillPart, buf []byte, fn func(recs []byte) error) error {
	size := s.bufferSize()
	for i, region := range p.regions {
		writes := spillFlushes
		if i == len(p.regions)-1 {
			writes = p.writes
		}
		for w := range writes {
			if len(buf)+size > cap(buf) {
				if err := fn(buf); err != nil {
					return err
				}
				buf = buf[:0]
			}
			buf = buf[:len(buf)+size]
			if _, err := io.ReadFull(io.NewSectionReader(s.f, region+int64(w*size), int64(size)), buf[len(buf)-size:]); err != nil {
				return err
			}
		}
	}
	if len(buf)+len(p.buf) > cap(buf) {
		if err := fn(buf); err != nil {
			return err
		}
		buf = buf[:0]
	}
	if buf = append(buf, p.buf...); len(buf) == 0 {
		return nil
	}
	return fn(buf)
}

// close gives the file up.
func (s *spill) close() error {
	if s.f == nil {
		return nil
	}
	return s.f.Close()
}
