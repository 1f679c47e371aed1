package raid

import (
	"crypto/subtle"
	"fmt"
)

// stripe says which members hold parity of a row of chunks, and how data goes round.
type stripe struct {
	p, q int  // q is -1 without
	ddf  bool // members are counted by place in Q, not from behind it
}

// placer finds the stripe of a row and the member of its n-th chunk of data.
type placer func(row int64, n, members int) (stripe, int)

// parity checks the layout of levels 4 to 6.
func (s *Set) parity() error {
	n, spare := len(s.c.Members), 1
	if s.c.Level == 6 {
		spare = 2
	}
	if n < spare+1 || n > 255 {
		return fmt.Errorf("%d members are not possible with level %d", n, s.c.Level)
	}
	switch s.c.Level {
	case 4:
		s.place = parityAt(func(_ int64, n int) int { return n - 1 })
	case 5:
		s.place = layouts5[s.c.Layout]
	case 6:
		s.place = layouts6[s.c.Layout]
	}
	if s.place == nil {
		return fmt.Errorf("layout %d of level %d is not read", s.c.Layout, s.c.Level)
	}
	s.size = s.c.Len / s.c.Chunk * s.c.Chunk * int64(n-spare)
	return enough(s.c.Members, spare)
}

// parityAt places one parity; data fills the members from the first, around it.
func parityAt(p func(row int64, n int) int) placer {
	return func(row int64, d, n int) (stripe, int) {
		at := p(row, n)
		if d >= at {
			d++
		}
		return stripe{at, -1, false}, d
	}
}

// parityBefore places one parity; data begins behind it and goes round.
func parityBefore(p func(row int64, n int) int) placer {
	return func(row int64, d, n int) (stripe, int) {
		at := p(row, n)
		return stripe{at, -1, false}, (at + 1 + d) % n
	}
}

func left(row int64, n int) int     { return n - 1 - int(row%int64(n)) }
func right(row int64, n int) int    { return int(row % int64(n)) }
func firstOf(int64, int) int        { return 0 }
func lastOf(_ int64, n int) int     { return n - 1 }
func secondLast(_ int64, n int) int { return n - 2 }

// layouts5 are those of level 5 by md's numbers.
var layouts5 = map[int]placer{
	0: parityAt(left), 1: parityAt(right), 2: parityBefore(left), 3: parityBefore(right),
	4: parityAt(firstOf), 5: parityAt(lastOf),
}

// pairAt places P with Q behind it; data fills the members around both.
func pairAt(p func(row int64, n int) int, ddf bool) placer {
	return func(row int64, d, n int) (stripe, int) {
		at := p(row, n)
		switch {
		case at == n-1: // Q goes round to the first
			return stripe{at, 0, ddf}, d + 1
		case d >= at:
			d += 2
		}
		return stripe{at, at + 1, ddf}, d
	}
}

// pairBefore places P and Q; data begins behind them and goes round.
func pairBefore(p func(row int64, n int) int) placer {
	return func(row int64, d, n int) (stripe, int) {
		at := p(row, n)
		return stripe{at, (at + 1) % n, false}, (at + 2 + d) % n
	}
}

// withLast is a layout of level 5 over all members but the last, which holds Q.
func withLast(inner placer) placer {
	return func(row int64, d, n int) (stripe, int) {
		st, member := inner(row, d, n-1)
		st.q = n - 1
		return st, member
	}
}

// layouts6 are those of level 6 by md's numbers: its own, those of DDF, and those that
// an array has between levels 5 and 6.
var layouts6 = map[int]placer{
	0: pairAt(left, false), 1: pairAt(right, false), 2: pairBefore(left), 3: pairBefore(right),
	4: pairAt(firstOf, false), 5: pairAt(secondLast, false),
	8: pairAt(right, true),
	9: pairAt(func(row int64, n int) int { return left(row+1, n) }, true),
	10: func(row int64, d, n int) (stripe, int) {
		at := left(row, n)
		return stripe{at, (at + n - 1) % n, true}, (at + 1 + d) % n
	},
	16: withLast(layouts5[0]), 17: withLast(layouts5[1]), 18: withLast(layouts5[2]), 19: withLast(layouts5[3]), 20: withLast(layouts5[4]),
}

func (s *Set) readParity(p []byte, off int64) (int, error) {
	data := int64(len(s.c.Members) - 1)
	if s.c.Level == 6 {
		data--
	}
	chunk, within := off/s.c.Chunk, off%s.c.Chunk
	p = p[:min(int64(len(p)), s.c.Chunk-within)]
	row := chunk / data
	st, member := s.place(row, int(chunk%data), len(s.c.Members))
	at := row*s.c.Chunk + within
	err := s.read(member, p, at)
	if err == nil {
		return len(p), nil
	}
	if s.compute(p, st, member, at) != nil {
		return 0, err // what the member itself said
	}
	return len(p), nil
}

// compute fills p with what `want`, a member with data, has at off, from the others.
func (s *Set) compute(p []byte, st stripe, want int, off int64) error {
	n := len(s.c.Members)
	parts := make([][]byte, n)
	other := -1 // the second that cannot be read
	for i := range n {
		if i == want {
			continue
		}
		parts[i] = make([]byte, len(p))
		if err := s.read(i, parts[i], off); err != nil {
			if parts[i] = nil; other >= 0 {
				return err
			}
			other = i
		}
	}
	if st.q < 0 && other >= 0 {
		return ErrTooFew
	}
	clear(p)
	if other < 0 || other == st.q { // P alone tells
		for i, b := range parts {
			if b != nil && i != st.q {
				subtle.XORBytes(p, p, b)
			}
		}
		return nil
	}
	s.solve(p, parts, st, want, other)
	return nil
}

// solve uses Q: other is P, or a second member with data.
func (s *Set) solve(p []byte, parts [][]byte, st stripe, want, other int) {
	q := parts[st.q]
	factors := s.factors(st)
	pq := make([]byte, len(p)) // P plus all data that is here
	for i, b := range parts {
		if b == nil || i == st.q {
			continue
		}
		subtle.XORBytes(pq, pq, b)
		if i != st.p {
			addTimes(q, b, factors[i])
		}
	}
	if other == st.p { // q = g^want * D
		addTimes(p, q, invert(factors[want]))
		return
	}
	// D + E = pq and d*D + e*E = q, so (d+e)*D = q + e*pq.
	addTimes(q, pq, factors[other])
	addTimes(p, q, invert(factors[want]^factors[other]))
}

// factors are what each member's data is multiplied with in Q.
func (s *Set) factors(st stripe) []byte {
	n := len(s.c.Members)
	f := make([]byte, n)
	power := byte(1)
	start := 0
	if !st.ddf {
		start = (st.q + 1) % n
	}
	for i := range n {
		m := (start + i) % n
		parity := m == st.p || m == st.q
		if !parity {
			f[m] = power
		}
		if !parity || st.ddf {
			power = times(power, 2)
		}
	}
	return f
}
