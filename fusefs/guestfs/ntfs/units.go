package ntfs

import "fmt"

// unitKey names a decompressed unit: the attribute, and where the unit begins.
type unitKey struct {
	runsKey
	off int64
}

// readUnits fills p with decompressed content. Units that p covers as a whole
// are decompressed into it; of others the unit is kept for the next read.
func (s *stream) readUnits(p []byte, off int64) (done int, err error) {
	for done < len(p) {
		at := off + int64(done)
		begin := at / s.unit * s.unit
		if part := p[done:]; begin == at && int64(len(part)) >= s.unit {
			if err := s.readUnit(part[:s.unit], begin); err != nil {
				return done, err
			}
			done += int(s.unit)
			continue
		}
		unit, err := s.keptUnit(begin)
		if err != nil {
			return done, err
		}
		done += copy(p[done:], unit[at-begin:])
	}
	return done, nil
}

func (s *stream) keptUnit(begin int64) ([]byte, error) {
	key := unitKey{runsKey{s.n.number, s.head.first, s.head.id}, begin}
	if unit, ok := s.v.units.Get(key); ok {
		return unit, nil
	}
	unit := make([]byte, s.unit)
	if err := s.readUnit(unit, begin); err != nil {
		return nil, err
	}
	s.v.units.Put(key, unit, s.unit)
	return unit, nil
}

// readUnit reads the compression unit at off into p. A unit without a hole is
// not compressed, one that is all hole is zeros; else what lies before its hole
// is what it was compressed to. What was not allocated is a hole as well.
func (s *stream) readUnit(p []byte, off int64) error {
	written := int64(0)
	for written < s.unit && (written == 0 || off+written < s.head.alloc) {
		at, n, err := s.extent(off + written)
		if err != nil {
			return err
		}
		if at == hole {
			break
		}
		written = min(written+n, s.unit)
	}
	switch written {
	case 0:
		clear(p)
		return nil
	case s.unit:
		_, err := s.readRuns(p, off)
		return err
	}
	packed := make([]byte, written)
	if _, err := s.readRuns(packed, off); err != nil {
		return err
	}
	if err := lznt1(p, packed); err != nil {
		return fmt.Errorf("from byte %d on: %w", off, s.corrupt("%v", err))
	}
	return nil
}
