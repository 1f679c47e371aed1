package fat

import (
	"cmp"
	"fmt"
	"io"
	"iter"
	"slices"
	"sort"
	"sync"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const runCost = 12

// run is a stretch of a file: clusters that lie one after another.
type run struct {
	index   uint32 // of its first cluster within the file
	cluster uint32
	count   uint32
}

// chain is the content of a file or folder. It may be read from several goroutines.
type chain struct {
	v     *volume
	what  string
	at    int64 // of its entry on the volume
	first uint32
	size  int64 // bytes

	once  sync.Once // guards the walk; nothing below changes after it
	runs  []run     // not all of them, when the file is in more pieces than may be kept
	end   uint32    // clusters that the walk found
	ended bool      // it came to the chain's own end
	err   error     // what ended it too soon
}

var _ tree.File = (*chain)(nil)

// fileChain is the content of a file whose entry names its first cluster and size.
func (v *volume) fileChain(e entry) (*chain, error) {
	c := &chain{v: v, what: fmt.Sprintf("file %d", e.ino), at: e.at(), first: e.cluster, size: e.size}
	if c.size > 0 && !v.valid(c.first) {
		return nil, c.corrupt("it begins at cluster %d", c.first)
	}
	if c.size > int64(v.clusters)*v.cluster {
		return nil, c.corrupt("it has %d bytes on a volume of %d", c.size, int64(v.clusters)*v.cluster)
	}
	return c, nil
}

func (c *chain) corrupt(why string, args ...any) error {
	return &tree.CorruptError{What: c.what, Why: fmt.Sprintf(why, args...), At: c.at}
}

// walk follows the chain for as many clusters as the size needs, once. A chain
// that ends too soon can be read up to there, one in a circle not at all: one
// that is long is found by Brent's algorithm while it is walked, the others in what was gathered.
func (c *chain) walk() {
	c.follow()
	if c.ended || c.end == 0 {
		return
	}
	byPlace := slices.SortedFunc(slices.Values(c.runs), func(a, b run) int { return cmp.Compare(a.cluster, b.cluster) })
	for i := 1; i < len(byPlace); i++ {
		if before := byPlace[i-1]; before.cluster+before.count > byPlace[i].cluster {
			c.end, c.err = 0, c.corrupt("its chain comes to cluster %d twice", byPlace[i].cluster)
			return
		}
	}
}

func (c *chain) follow() {
	need := uint32((c.size + c.v.cluster - 1) / c.v.cluster)
	table := cursor{v: c.v}
	cluster, mark, lap := c.first, uint32(0), uint32(1)
	for c.end < need {
		c.add(cluster)
		if c.end == need {
			return
		}
		l, err := table.next(cluster)
		switch {
		case err != nil:
			c.err = fmt.Errorf("%s: %w", c.what, err)
			return
		case l.end:
			c.ended, c.err = true, c.corrupt("its chain ends after %d of %d clusters", c.end, need)
			return
		case l.next == mark || l.next == cluster:
			c.end, c.err = 0, c.corrupt("its chain goes in circles at cluster %d", l.next)
			return
		}
		if c.end == lap {
			mark, lap = l.next, lap*2
		}
		cluster = l.next
	}
}

// add appends a cluster to the runs. When they get too many, every other one is
// dropped: what it held is found again from the one before it.
func (c *chain) add(cluster uint32) {
	if n := len(c.runs); n > 0 {
		last := &c.runs[n-1]
		if last.index+last.count == c.end && last.cluster+last.count == cluster {
			last.count++
			c.end++
			return
		}
		if n >= c.v.maxRuns {
			kept := 0
			for i := 0; i < n; i += 2 {
				c.runs[kept] = c.runs[i]
				kept++
			}
			c.runs = c.runs[:kept]
		}
	}
	c.runs = append(c.runs, run{index: c.end, cluster: cluster, count: 1})
	c.end++
}

// locate returns the cluster of an index within the file, and how many lie one
// after another from there on.
func (c *chain) locate(index uint32) (cluster, count uint32, err error) {
	if index >= c.end {
		return 0, 0, c.err
	}
	i := sort.Search(len(c.runs), func(i int) bool { return c.runs[i].index > index }) - 1
	r := c.runs[i]
	if in := index - r.index; in < r.count {
		return r.cluster + in, r.count - in, nil
	}
	table := cursor{v: c.v}
	cluster = r.cluster + r.count - 1
	for at := r.index + r.count - 1; at < index; at++ {
		l, err := table.next(cluster)
		if err != nil || l.end {
			return 0, 0, c.corrupt("its chain has changed: %v", err)
		}
		cluster = l.next
	}
	return cluster, 1, nil
}

// ReadAt reads straight into p, with one read of the volume for each run.
func (c *chain) ReadAt(p []byte, off int64) (done int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("%s: read at %d", c.what, off)
	}
	if off >= c.size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > c.size-off {
		p, end = p[:c.size-off], io.EOF
	}
	c.once.Do(c.walk)
	for done < len(p) {
		at := off + int64(done)
		cluster, count, err := c.locate(uint32(at / c.v.cluster))
		if err != nil {
			return done, err
		}
		in := at % c.v.cluster
		part := p[done:]
		part = part[:min(int64(count)*c.v.cluster-in, int64(len(part)))]
		if err := readFull(c.v.r, part, c.v.place(cluster)+in); err != nil {
			return done, fmt.Errorf("%s at %d of the volume: %w", c.what, c.v.place(cluster)+in, err)
		}
		done += len(part)
	}
	return done, end
}

// Extents yields the whole file: FAT knows no holes.
func (c *chain) Extents() iter.Seq2[tree.Extent, error] {
	return func(yield func(tree.Extent, error) bool) {
		if c.size > 0 {
			yield(tree.Extent{Len: c.size}, nil)
		}
	}
}
