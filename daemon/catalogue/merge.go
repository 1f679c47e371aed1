package catalogue

import (
	"bytes"
	"container/heap"
	"errors"
	"io"
)

// merger joins sorted sources into one.
type merger struct {
	h       merging
	started bool
	waiting []source
}

type merging []merged

type merged struct {
	record
	from source
}

func (m merging) Len() int      { return len(m) }
func (m merging) Swap(i, j int) { m[i], m[j] = m[j], m[i] }
func (m merging) Less(i, j int) bool {
	if c := bytes.Compare(m[i].key, m[j].key); c != 0 {
		return c < 0
	}
	return m[i].number < m[j].number
}
func (m *merging) Push(x any) { *m = append(*m, x.(merged)) }
func (m *merging) Pop() any {
	x := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return x
}

func newMerger(sources []source) *merger { return &merger{waiting: sources} }

// next gives the smallest record; it is valid until the next call.
func (m *merger) next() (record, error) {
	if err := m.advance(); err != nil {
		return record{}, err
	}
	if len(m.h) == 0 {
		return record{}, io.EOF
	}
	return m.h[0].record, nil
}

// advance moves the source on whose record was given last.
func (m *merger) advance() error {
	if !m.started {
		m.started = true
		for _, s := range m.waiting {
			r, err := s.next()
			if errors.Is(err, io.EOF) {
				continue
			}
			if err != nil {
				return err
			}
			m.h = append(m.h, merged{r, s})
		}
		heap.Init(&m.h)
		return nil
	}
	if len(m.h) == 0 {
		return nil
	}
	r, err := m.h[0].from.next()
	switch {
	case errors.Is(err, io.EOF):
		heap.Pop(&m.h)
	case err != nil:
		return err
	default:
		m.h[0].record = r
		heap.Fix(&m.h, 0)
	}
	return nil
}
