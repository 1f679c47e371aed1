package catalogue

import (
	"bytes"
	"errors"
	"io"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// Vault is what catalogues are read from: a [blockstore.Vault].
type Vault interface {
	Catalogues(blockstore.MachineID) (blockstore.Catalogues, error)
	OpenCatalogue(blockstore.Catalogue) (*blockstore.CatalogueFile, error)
}

// encodeBody is what sorters keep of an entry beside its key.
func encodeBody(b []byte, e *Entry) []byte {
	if e.Gone {
		return append(b, flagGone)
	}
	flags := byte(0)
	if e.Timed {
		flags = flagTimed
	}
	return appendAttr(append(b, flags), flags, e.Attr)
}

// decodeBody reads what encodeBody wrote.
func decodeBody(r record) (Entry, error) {
	e := Entry{Key: r.key}
	if len(r.body) == 0 {
		return e, damaged("%v", errShort)
	}
	if e.Gone = r.body[0] == flagGone; e.Gone {
		return e, nil
	}
	var f frameReader
	_, err := f.attr(r.body[0], r.body[1:])
	e.Attr = f.e.Attr
	return e, err
}

// BadError says which catalogue it is that cannot be used. It wraps [blockstore.ErrCatalogue].
type BadError struct {
	Catalogue blockstore.Catalogue
	Err       error
}

func (e *BadError) Error() string { return e.Err.Error() }

func (e *BadError) Unwrap() error { return e.Err }

// bad says which catalogue an error is about, when it is about one.
func bad(c blockstore.Catalogue, err error) error {
	if errors.Is(err, blockstore.ErrCatalogue) {
		return &BadError{c, err}
	}
	return err
}

// file is a catalogue that is read from its beginning to its end.
type file struct {
	c     blockstore.Catalogue
	f     *blockstore.CatalogueFile
	frame int // of the next one
	buf   []byte
	r     frameReader
}

// openFile opens a catalogue and compares its head with its name.
func openFile(v Vault, c blockstore.Catalogue) (*file, Head, error) {
	f, err := v.OpenCatalogue(c)
	if err != nil {
		return nil, Head{}, bad(c, err)
	}
	t := &file{c: c, f: f, frame: 1}
	var h Head
	if f.Frames() < 2 {
		err = damaged("it has %d frames", f.Frames())
	} else if t.buf, err = f.Frame(0, nil); err == nil {
		h, err = checkHead(t.buf, c)
	}
	if err != nil {
		return nil, h, errors.Join(bad(c, err), f.Close())
	}
	return t, h, nil
}

func (t *file) close() error { return t.f.Close() }

// next reads the next entry into t.r.e; io.EOF at the end.
func (t *file) next() error {
	for {
		more, err := t.r.next()
		if more || err != nil {
			return bad(t.c, err)
		}
		if t.frame >= t.f.Frames()-1 {
			return io.EOF
		}
		if t.buf, err = t.f.Frame(t.frame, t.buf); err != nil {
			return bad(t.c, err)
		}
		t.frame++
		if err := t.r.begin(t.buf); err != nil {
			return bad(t.c, err)
		}
	}
}

func (t *file) summary() (s Summary, err error) {
	b, err := t.f.Frame(t.f.Frames()-1, nil)
	if err == nil {
		err = decodeJSON(summaryFrame, b, &s)
	}
	return s, bad(t.c, err)
}

// chainSource is the fileSource of a chain: entries as records, numbered by the place in the chain.
type chainSource struct {
	t      *file
	number uint32
	body   []byte
	before []byte // the key of the entry before
}

func (s *chainSource) next() (record, error) {
	if err := s.t.next(); err != nil {
		return record{}, err
	}
	e := &s.t.r.e
	if s.before != nil && bytes.Compare(s.before, e.Key) >= 0 {
		return record{}, bad(s.t.c, damaged("its entries are out of order"))
	}
	s.before = append(s.before[:0], e.Key...)
	s.body = encodeBody(s.body[:0], e)
	return record{e.Key, s.number, s.body}, nil
}

// entries gives sorted entries, one after the other; io.EOF at the end.
type entries interface{ next() (Entry, error) }

// state reads what a chain of catalogues comes to: for each key what the last says that
// knows it.
type state struct {
	files []*file
	m     *merger
	ahead record // copied
	begun bool
	done  bool
	key   []byte
	body  []byte
}

// openChain opens what one point's names are read from. The summary is that of the point.
func openChain(v Vault, chain blockstore.Catalogues) (_ *state, sum Summary, size chainSize, err error) {
	s := &state{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	var sources []source
	for i, c := range chain {
		t, _, err := openFile(v, c)
		if err != nil {
			return nil, sum, size, err
		}
		s.files = append(s.files, t)
		sources = append(sources, &chainSource{t: t, number: uint32(i)})
		if i == 0 {
			size.whole = t.f.Size()
		} else {
			size.rest += t.f.Size()
		}
	}
	size.length = len(chain)
	s.m = newMerger(sources)
	sum, err = s.files[len(s.files)-1].summary()
	return s, sum, size, err
}

// chainSize is what decides whether more is built on a chain; sizes are bytes.
type chainSize struct {
	length      int
	whole, rest int64
}

func (s *state) close() error {
	var errs []error
	for _, t := range s.files {
		errs = append(errs, t.close())
	}
	return errors.Join(errs...)
}

// step reads the next record into ahead.
func (s *state) step() error {
	r, err := s.m.next()
	if errors.Is(err, io.EOF) {
		s.done = true
		return nil
	}
	if err != nil {
		return err
	}
	s.ahead = record{append(s.ahead.key[:0], r.key...), r.number, append(s.ahead.body[:0], r.body...)}
	return nil
}

func (s *state) next() (Entry, error) {
	if !s.begun {
		s.begun = true
		if err := s.step(); err != nil {
			return Entry{}, err
		}
	}
	for !s.done {
		s.key, s.body = append(s.key[:0], s.ahead.key...), append(s.body[:0], s.ahead.body...)
		for {
			if err := s.step(); err != nil {
				return Entry{}, err
			}
			if s.done || !bytes.Equal(s.ahead.key, s.key) {
				break
			}
			s.body = append(s.body[:0], s.ahead.body...)
		}
		e, err := decodeBody(record{key: s.key, body: s.body})
		if err != nil || !e.Gone {
			return e, err
		}
	}
	return Entry{}, io.EOF
}

// sorted gives what a sorter has, each key once.
type sorted struct {
	m   *merger
	key []byte
	any bool
}

func (s *sorted) next() (Entry, error) {
	for {
		r, err := s.m.next()
		if err != nil {
			return Entry{}, err
		}
		if s.any && bytes.Equal(r.key, s.key) {
			continue // a folder that has a name twice
		}
		s.key, s.any = append(s.key[:0], r.key...), true
		return decodeBody(r)
	}
}

// none has no entries.
type none struct{}

func (none) next() (Entry, error) { return Entry{}, io.EOF }
