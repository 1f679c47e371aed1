package exfat

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
	v         *volume
	what      string
	at        int64 // of its entry on the volume
	first     uint32
	unchained bool  // its clusters follow one another, and the table has no word of them
	size      int64 // bytes
	written   int64 // of these; the rest reads as zeros

	once  sync.Once // guards the walk; nothing below changes after it
	runs  []run     // not all of them, when the file is in more pieces than may be kept
	end   uint32    // clusters that the walk found
	ended bool      // it came to the chain's own end
	err   error     // what ended it too soon
}

var _ tree.File = (*chain)(nil)

// check refuses what cannot be before anything is read of it.
func (c *chain) check() (*chain, error) {
	v := c.v
	whole := int64(v.clusters) * v.cluster
	switch {
	case c.size < 0 || c.size > whole:
		return nil, c.corrupt("it has %d bytes on a volume of %d", c.size, whole)
	case c.written < 0 || c.written > c.size:
		return nil, c.corrupt("%d of its %d bytes are written", c.written, c.size)
	case c.size == 0:
		return c, nil
	case !v.valid(c.first):
		return nil, c.corrupt("it begins at cluster %d", c.first)
	case c.unchained && c.need() > v.clusters-(c.first-2):
		return nil, c.corrupt("its %d clusters from %d on end beyond the volume", c.need(), c.first)
	}
	return c, nil
}

// need is how many clusters the size takes.
func (c *chain) need() uint32 { return uint32((c.size + c.v.cluster - 1) / c.v.cluster) }

func (c *chain) corrupt(why string, args ...any) error {
	return &tree.CorruptError{What: c.what, Why: fmt.Sprintf(why, args...), At: c.at}
}

// walk finds the clusters that the size needs, once. A chain that ends too soon
// can be read up to there, one in a circle not at all: a long one is found by
// Brent's algorithm while it is walked, the others in what was gathered.
func (c *chain) walk() {
	if c.unchained {
		c.runs, c.end = []run{{cluster: c.first, count: c.need()}}, c.need()
		return
	}
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
	need := c.need()
	table := cursor{v: c.v}
	cluster, mark, lap := c.first, uint32(0), uint32(1)
	for c.end < need {
		c.add(cluster)
		if c.end == need {
			return
		}
		next, end, err := table.next(cluster)
		switch {
		case err != nil:
			c.err = fmt.Errorf("%s: %w", c.what, err)
			return
		case end:
			c.ended, c.err = true, c.corrupt("its chain ends after %d of %d clusters", c.end, need)
			return
		case next == mark || next == cluster:
			c.end, c.err = 0, c.corrupt("its chain goes in circles at cluster %d", next)
			return
		}
		if c.end == lap {
			mark, lap = next, lap*2
		}
		cluster = next
	}
}

// add appends a cluster to the runs. When they get too many, every other one is
// dropped: what it held is found again from the one before it.
func (c *chain) add(cluster uint32) {
	n := len(c.runs)
	if n > 0 {
		last := &c.runs[n-1]
		if last.index+last.count == c.end && last.cluster+last.count == cluster {
			last.count++
			c.end++
			return
		}
	}
	if n >= c.v.maxRuns {
		for i := 0; 2*i < n; i++ {
			c.runs[i] = c.runs[2*i]
		}
		c.runs = c.runs[:(n+1)/2]
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
	r := c.runs[sort.Search(len(c.runs), func(i int) bool { return c.runs[i].index > index })-1]
	if in := index - r.index; in < r.count {
		return r.cluster + in, r.count - in, nil
	}
	table := cursor{v: c.v}
	cluster = r.cluster + r.count - 1
	for at := r.index + r.count - 1; at < index; at++ {
		next, end, err := table.next(cluster)
		if err != nil || end {
			return 0, 0, c.corrupt("its chain has changed: %v", err)
		}
		cluster = next
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
	data := p[:min(int64(len(p)), max(c.written-off, 0))]
	c.once.Do(c.walk)
	for done < len(data) {
		at := off + int64(done)
		cluster, count, err := c.locate(uint32(at / c.v.cluster))
		if err != nil {
			return done, err
		}
		in := at % c.v.cluster
		part := data[done:]
		part = part[:min(int64(count)*c.v.cluster-in, int64(len(part)))]
		if err := readFull(c.v.r, part, c.v.place(cluster)+in); err != nil {
			return done, fmt.Errorf("%s at %d of the volume: %w", c.what, c.v.place(cluster)+in, err)
		}
		done += len(part)
	}
	clear(p[done:])
	return len(p), end
}

// Extents yields what was written: the rest of the clusters holds nothing.
func (c *chain) Extents() iter.Seq2[tree.Extent, error] {
	return func(yield func(tree.Extent, error) bool) {
		if c.written > 0 {
			yield(tree.Extent{Len: c.written}, nil)
		}
	}
}
