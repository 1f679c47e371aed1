package diskmap

import "context"

// Same tells whether a and b map blocks first to first+n-1 to the same IDs. It reads
// only pages on the way there that the two do not share. Blocks past an end are zero.
func Same(ctx context.Context, a, b *Map, first, n int64) (bool, error) {
	top := max(Levels(a.Blocks), Levels(b.Blocks))
	s := sameness{differ{ctx: ctx, a: a, b: b}, first, first + n}
	return s.walk(subtree{a.Root, top - Levels(a.Blocks)}, subtree{b.Root, top - Levels(b.Blocks)}, top, 0)
}

// sameness is one call of Same.
type sameness struct {
	differ
	from, to int64
}

func (s *sameness) walk(x, y subtree, level int, first int64) (bool, error) {
	if x == y || x.isZero() && y.isZero() {
		return true, nil
	}
	if level == 0 {
		return false, nil
	}
	if err := s.ctx.Err(); err != nil {
		return false, err
	}
	xs, err := children(s.a, x, level, first)
	if err != nil {
		return false, err
	}
	ys, err := children(s.b, y, level, first)
	if err != nil {
		return false, err
	}
	step := Span(level - 1)
	for i := max(0, (s.from-first)/step); i < Fanout && first+i*step < s.to; i++ {
		same, err := s.walk(child(xs, x, int(i)), child(ys, y, int(i)), level-1, first+i*step)
		if !same || err != nil {
			return false, err
		}
	}
	return true, nil
}
