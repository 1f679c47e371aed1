package ext

import (
	"errors"
	"fmt"
)

// Tags of fast commits ("Fast commits" in the kernel's documentation of the
// journal; numbers have their lowest byte first here).
const (
	fastAddRange = 1
	fastDelRange = 2
	fastCreate   = 3
	fastLink     = 4
	fastUnlink   = 5
	fastInode    = 6
	fastPad      = 7
	fastTail     = 8
	fastHead     = 9

	fastTagSize = 4 // kind and length
)

// fastLog is the area behind the log where fast commits lie, all of them made
// after the last transaction.
type fastLog struct {
	j   *journal
	tid uint32 // the transaction that they belong to
}

// each calls do for the tags of a block, the last of which is a tail or a pad, until
// it returns false.
func (l *fastLog) each(b []byte, do func(kind uint16, whole, value []byte) (bool, error)) (bool, error) {
	for len(b) > fastTagSize {
		kind, length := le.Uint16(b), int(le.Uint16(b[2:]))
		if length > len(b)-fastTagSize || !fastLength(kind, length) {
			return false, fmt.Errorf("a tag of kind %d with %d bytes", kind, length)
		}
		whole := b[:fastTagSize+length]
		if more, err := do(kind, whole, whole[fastTagSize:]); !more || err != nil {
			return false, err
		}
		b = b[len(whole):]
	}
	return true, nil
}

// fastLength tells whether a tag can be so long.
func fastLength(kind uint16, n int) bool {
	switch kind {
	case fastAddRange:
		return n == 16
	case fastDelRange:
		return n == 12
	case fastCreate, fastLink, fastUnlink:
		return n > 8 && n <= 8+255
	case fastInode:
		return n >= 4+classicInodeSize
	case fastTail, fastHead:
		return n >= 8
	case fastPad:
		return true
	}
	return false
}

// count returns how many tags are covered by a tail that holds.
func (l *fastLog) count() (valid int, err error) {
	seen, sum := 0, uint32(0)
	for n := l.j.last + 1; n < l.j.total; n++ {
		b, err := l.j.read(n)
		if err != nil {
			return valid, err
		}
		if seen == 0 && le.Uint16(b) != fastHead {
			return 0, nil
		}
		more, err := l.each(b, func(kind uint16, whole, value []byte) (bool, error) {
			seen++
			switch kind {
			case fastHead:
				if le.Uint32(value) != 0 {
					return false, errors.New("they have features that this reader does not know")
				}
				if le.Uint32(value[4:]) != l.tid {
					return false, nil
				}
			case fastTail:
				sum = crc32c(sum, whole[:fastTagSize+4])
				if le.Uint32(value) != l.tid || le.Uint32(value[4:]) != sum {
					return false, nil
				}
				valid, sum = seen, 0
				return true, nil
			}
			sum = crc32c(sum, whole)
			return true, nil
		})
		if err != nil && valid == 0 && seen > 1 {
			return 0, err
		}
		if !more {
			break
		}
	}
	return valid, nil
}

// applyFast replays the fast commits that are whole.
func (j *journal) applyFast(o *overlay, tid uint32, memory int64) error {
	l := &fastLog{j: j, tid: tid}
	left, err := l.count()
	if err != nil || left == 0 {
		return err
	}
	v := j.v
	v.fast = &fastState{files: map[uint32]*fastFile{}, folders: map[uint32]*fastFolder{}}
	r := &fastReplay{v: v, o: o, left: int(memory / copyCost)}
	for n := j.last + 1; n < j.total && left > 0; n++ {
		b, err := j.read(n)
		if err != nil {
			return err
		}
		if _, err = l.each(b, func(kind uint16, _, value []byte) (bool, error) {
			left--
			return left > 0, r.tag(kind, value)
		}); err != nil {
			return err
		}
	}
	return nil
}
