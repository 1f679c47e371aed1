package catalogue

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// Bounds of what is written and believed.
const (
	frameSize = 64 << 10 // of entries, about
	maxKey    = 64 << 10 // bytes of a key: 1024 folders of 255 bytes are more than a guest can name
)

// First bytes of frames.
const (
	headFrame    = 'H'
	entriesFrame = 'E'
	summaryFrame = 'S'
)

const (
	flagGone  = 1
	flagTimed = 2
	flagSame  = 4
	flagsAll  = flagGone | flagTimed | flagSame
)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", blockstore.ErrCatalogue, fmt.Sprintf(format, args...))
}

// frameWriter packs entries into frames. It belongs to one goroutine.
type frameWriter struct {
	put     func([]byte) error
	b       []byte
	key     []byte // of the entry before in this frame
	owner   Attr   // of which mode, uid and gid count
	owned   bool
	entries int64
}

func (w *frameWriter) add(e *Entry) error {
	if len(e.Key) > maxKey {
		return fmt.Errorf("a path of %d bytes, at most %d can be listed", len(e.Key), maxKey)
	}
	if len(w.b) >= frameSize {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if len(w.b) == 0 {
		w.b = append(w.b, entriesFrame)
	}
	shared := sharedPrefix(w.key, e.Key)
	flags := byte(0)
	switch {
	case e.Gone:
		flags = flagGone
	case w.owned && e.Mode == w.owner.Mode && e.UID == w.owner.UID && e.GID == w.owner.GID:
		flags = flagSame
	}
	if e.Timed && !e.Gone {
		flags |= flagTimed
	}
	w.b = append(w.b, flags)
	w.b = binary.AppendUvarint(w.b, uint64(shared))
	w.b = binary.AppendUvarint(w.b, uint64(len(e.Key)-shared))
	w.b = append(w.b, e.Key[shared:]...)
	w.key = append(w.key[:shared], e.Key[shared:]...)
	w.entries++
	if !e.Gone {
		w.b = appendAttr(w.b, flags, e.Attr)
		w.owner, w.owned = e.Attr, true
	}
	return nil
}

func appendAttr(b []byte, flags byte, a Attr) []byte {
	if flags&flagSame == 0 {
		b = binary.AppendUvarint(b, uint64(a.Mode))
		b = binary.AppendUvarint(b, uint64(a.UID))
		b = binary.AppendUvarint(b, uint64(a.GID))
	}
	b = binary.AppendUvarint(b, uint64(a.Size))
	if flags&flagTimed != 0 {
		b = binary.AppendVarint(b, a.Sec)
		b = binary.AppendUvarint(b, uint64(a.Nsec))
	}
	return binary.AppendUvarint(b, a.Ino)
}

// flush hands over the frame that is begun.
func (w *frameWriter) flush() error {
	if len(w.b) == 0 {
		return nil
	}
	err := w.put(w.b)
	w.b, w.key, w.owned = w.b[:0], w.key[:0], false
	return err
}

func sharedPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// frameReader takes the entries of one frame apart.
type frameReader struct {
	b     []byte
	key   []byte
	owner Attr
	owned bool
	e     Entry // the last one; its key is key
}

// begin starts with a frame of entries.
func (r *frameReader) begin(frame []byte) error {
	if len(frame) == 0 || frame[0] != entriesFrame {
		return damaged("a frame of another kind where entries belong")
	}
	r.b, r.key, r.owned = frame[1:], r.key[:0], false
	return nil
}

var errShort = errors.New("it ends within an entry")

// next reads the next entry into r.e, and returns false at the end of the frame.
func (r *frameReader) next() (bool, error) {
	if len(r.b) == 0 {
		return false, nil
	}
	flags := r.b[0]
	if flags&^flagsAll != 0 || flags&flagGone != 0 && flags != flagGone || flags&flagSame != 0 && !r.owned {
		return false, damaged("an entry with flags %d", flags)
	}
	b := r.b[1:]
	shared, b, err := uvarint(b, uint64(len(r.key)))
	if err != nil {
		return false, err
	}
	own, b, err := uvarint(b, uint64(len(b)))
	if err != nil {
		return false, err
	}
	if own > uint64(len(b)) || shared+own > maxKey {
		return false, damaged("a key of %d bytes", shared+own)
	}
	r.key = append(r.key[:shared], b[:own]...)
	b = b[own:]
	r.e = Entry{Key: r.key, Gone: flags&flagGone != 0}
	if !r.e.Gone {
		if b, err = r.attr(flags, b); err != nil {
			return false, err
		}
	}
	r.b = b
	return true, nil
}

func (r *frameReader) attr(flags byte, b []byte) (_ []byte, err error) {
	a := &r.e.Attr
	a.Mode, a.UID, a.GID = r.owner.Mode, r.owner.UID, r.owner.GID
	if flags&flagSame == 0 {
		for _, to := range []*uint32{&a.Mode, &a.UID, &a.GID} {
			var n uint64
			if n, b, err = uvarint(b, 1<<32-1); err != nil {
				return nil, err
			}
			*to = uint32(n)
		}
	}
	size, b, err := uvarint(b, 1<<63-1)
	if err != nil {
		return nil, err
	}
	a.Size = int64(size)
	if a.Timed = flags&flagTimed != 0; a.Timed {
		n := 0
		if a.Sec, n = binary.Varint(b); n <= 0 {
			return nil, damaged("%v", errShort)
		}
		var nsec uint64
		if nsec, b, err = uvarint(b[n:], 1e9-1); err != nil {
			return nil, err
		}
		a.Nsec = uint32(nsec)
	}
	if a.Ino, b, err = uvarint(b, 1<<64-1); err != nil {
		return nil, err
	}
	r.owner, r.owned = *a, true
	return b, nil
}

// uvarint reads a number that is at most so large.
func uvarint(b []byte, most uint64) (uint64, []byte, error) {
	if len(b) > 0 && b[0] < 0x80 && uint64(b[0]) <= most { // nearly all
		return uint64(b[0]), b[1:], nil
	}
	n, length := binary.Uvarint(b)
	if length <= 0 {
		return 0, nil, damaged("%v", errShort)
	}
	if n > most {
		return 0, nil, damaged("a number of %d, at most %d is possible there", n, most)
	}
	return n, b[length:], nil
}
