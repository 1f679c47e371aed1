package ext

import "sort"

const (
	wordsSize = 60 // i_block: a map of blocks, the root of a tree of extents, or content
	wordsAt   = 0x28

	// maxFileBlocks is how many blocks a file can be long.
	maxFileBlocks = 1 << 32
)

// run is a piece of a file: blocks that lie one behind the other, or a hole.
type run struct {
	logical  uint64 // first block of the file
	count    uint64 // never 0
	physical uint64 // first block of the volume, if data
	data     bool   // a hole, or allocated and not written: zeros
}

func (r run) end() uint64 { return r.logical + r.count }

// mapping says where the blocks of an inode lie. It is a value: reading through it
// allocates nothing.
type mapping struct {
	ino   uint32
	seed  uint32
	tree  bool // extents, not a map of blocks
	words [wordsSize]byte
	runs  []run // instead of all that, when a fast commit has changed it
	fast  bool
}

// mapping prepares to look up the blocks of an inode.
func (v *volume) mapping(in *inode) (mapping, error) {
	m := mapping{ino: in.number, seed: in.seed, tree: in.has(flagExtents)}
	copy(m.words[:], in.raw[wordsAt:])
	if v.fast != nil {
		m.runs, m.fast = v.fast.runs(in.number)
	}
	if m.tree && !m.fast {
		return m, v.checkExtents(&m, m.words[:], extentRoot{high: maxFileBlocks})
	}
	return m, nil
}

// at returns the run that holds a block of the file, from that block on.
func (v *volume) at(m *mapping, logical uint64) (run, error) {
	switch {
	case logical >= maxFileBlocks:
		return run{logical: logical, count: 1}, nil
	case m.fast:
		return fromList(m.runs, logical), nil
	case m.tree:
		return v.extentAt(m, logical)
	}
	return v.mappedAt(m, logical)
}

// merged returns the longest run from a block on that lies in one piece, as far as
// a limit. It saves reads where the tree or the map is in pieces.
func (v *volume) merged(m *mapping, logical, limit uint64) (run, error) {
	r, err := v.at(m, logical)
	for err == nil && r.end() < limit {
		next, err := v.at(m, r.end())
		if err != nil || next.data != r.data || r.data && next.physical != r.physical+r.count {
			break // an error is met again where it lies
		}
		r.count += next.count
	}
	return r, err
}

// fromList looks a block up in runs that ascend and leave out holes.
func fromList(runs []run, logical uint64) run {
	i := sort.Search(len(runs), func(i int) bool { return runs[i].end() > logical })
	if i == len(runs) {
		return run{logical: logical, count: maxFileBlocks - logical}
	}
	r := runs[i]
	if r.logical > logical {
		return run{logical: logical, count: r.logical - logical}
	}
	return r.from(logical)
}

// from cuts off what lies before a block.
func (r run) from(logical uint64) run {
	skip := logical - r.logical
	r.logical, r.count = logical, r.count-skip
	if r.data {
		r.physical += skip
	}
	return r
}
