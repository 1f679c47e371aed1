package catalogue

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// sorter sorts records by key, and those of one key by number. What does not fit into its
// memory lies in files that have no name any more, encrypted with a key that is kept in
// memory alone: names of files are secrets. It belongs to one goroutine.
type sorter struct {
	dir   string // of the files; "": where temporary files lie
	limit int    // bytes in memory

	arena []byte
	items []item
	runs  []run
}

// run is a file of sorted records, and what it is encrypted with: AES-256 in counter mode.
type run struct {
	f   *os.File
	key [32]byte // of this file alone
}

func (r *run) stream() cipher.Stream {
	block, err := aes.NewCipher(r.key[:])
	if err != nil {
		panic(err) // only for keys of other lengths
	}
	return cipher.NewCTR(block, make([]byte, aes.BlockSize))
}

// item is a record in the arena: key, then body.
type item struct {
	at     int
	key    int // bytes
	body   int
	number uint32
}

// record is one that is given back; its bytes are valid until the next.
type record struct {
	key    []byte
	number uint32
	body   []byte
}

func newSorter(dir string, limit int) *sorter { return &sorter{dir: dir, limit: limit} }

const itemCost = 32

func (s *sorter) add(key []byte, number uint32, body []byte) error {
	if len(s.arena)+len(key)+len(body)+itemCost*len(s.items) > s.limit && len(s.items) > 0 {
		if err := s.spill(); err != nil {
			return err
		}
	}
	s.items = append(s.items, item{len(s.arena), len(key), len(body), number})
	s.arena = append(append(s.arena, key...), body...)
	return nil
}

func (s *sorter) keyOf(it item) []byte { return s.arena[it.at : it.at+it.key] }

func (s *sorter) sort() {
	slices.SortFunc(s.items, func(a, b item) int {
		if c := bytes.Compare(s.keyOf(a), s.keyOf(b)); c != 0 {
			return c
		}
		return int(int64(a.number) - int64(b.number))
	})
}

// spill writes what is in memory to a file, sorted.
func (s *sorter) spill() (err error) {
	s.sort()
	f, err := os.CreateTemp(s.dir, "holdfast-names-")
	if err != nil {
		return fmt.Errorf("room for sorting names: %w", err)
	}
	one := run{f: f}
	rand.Read(one.key[:]) // never fails
	s.runs = append(s.runs, one)
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	w := bufio.NewWriterSize(cipher.StreamWriter{S: one.stream(), W: f}, 1<<20)
	var head []byte
	for _, it := range s.items {
		head = binary.AppendUvarint(head[:0], uint64(it.key))
		head = binary.AppendUvarint(head, uint64(it.body))
		head = binary.AppendUvarint(head, uint64(it.number))
		w.Write(head)                                  // errors are kept
		w.Write(s.arena[it.at : it.at+it.key+it.body]) // for Flush
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("room for sorting names: %w", err)
	}
	s.arena, s.items = s.arena[:0], s.items[:0]
	return nil
}

// sources are sorted streams of all records; they may be taken several times, when nothing is
// added any more.
func (s *sorter) sources() []source {
	s.sort()
	list := []source{&memorySource{s: s}}
	for i := range s.runs {
		r := cipher.StreamReader{S: s.runs[i].stream(), R: io.NewSectionReader(s.runs[i].f, 0, 1<<62)}
		list = append(list, &fileSource{r: bufio.NewReaderSize(r, 256<<10)})
	}
	return list
}

// close gives the files up.
func (s *sorter) close() error {
	var errs []error
	for _, r := range s.runs {
		errs = append(errs, r.f.Close())
	}
	s.runs, s.arena, s.items = nil, nil, nil
	return errors.Join(errs...)
}

// source gives sorted records, one after the other; io.EOF at the end.
type source interface{ next() (record, error) }

type memorySource struct {
	s *sorter
	i int
}

func (m *memorySource) next() (record, error) {
	if m.i == len(m.s.items) {
		return record{}, io.EOF
	}
	it := m.s.items[m.i]
	m.i++
	return record{m.s.keyOf(it), it.number, m.s.arena[it.at+it.key : it.at+it.key+it.body]}, nil
}

type fileSource struct {
	r   *bufio.Reader
	buf []byte
}

func (f *fileSource) next() (record, error) {
	var n [3]uint64
	for i := range n {
		var err error
		if n[i], err = binary.ReadUvarint(f.r); err != nil {
			return record{}, err // io.EOF before the first
		}
	}
	key, total := int(n[0]), int(n[0]+n[1])
	if cap(f.buf) < total {
		f.buf = make([]byte, total)
	}
	b := f.buf[:total]
	if _, err := io.ReadFull(f.r, b); err != nil {
		return record{}, fmt.Errorf("what was being sorted: %w", err)
	}
	return record{b[:key], uint32(n[2]), b[key:]}, nil
}
