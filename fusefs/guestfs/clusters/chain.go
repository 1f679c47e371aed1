package clusters

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

// RunCost is about how many bytes one of [Space].MaxRuns takes.
const RunCost = 12

// run is a stretch of a file: clusters that lie one after another.
type run struct {
	index   uint32 // of its first cluster within the file
	cluster uint32
	count   uint32
}

// Chain is the content of a file or folder. Its fields are set before it is used; then it may
// be read from several goroutines.
type Chain struct {
	Space     *Space
	What      string // for errors: "file 12"
	At        int64  // where the entry lies on the volume that names it
	First     uint32
	Unchained bool  // its clusters follow one another, and the table has no word of them
	Size      int64 // bytes
	Written   int64 // of these; the rest reads as zeros

	once  sync.Once // guards the walk; nothing below changes after it
	runs  []run     // not all of them, when the file is in more pieces than may be kept
	end   uint32    // clusters that the walk found
	ended bool      // it came to the chain's own end
	err   error     // what ended it too soon
}

var _ tree.File = (*Chain)(nil)

// Check refuses what cannot be before anything is read of it.
func (c *Chain) Check() error {
	s := c.Space
	switch {
	case c.Size < 0 || c.Size > s.bytes():
		return c.Corrupt("it has %d bytes on a volume of %d", c.Size, s.bytes())
	case c.Written < 0 || c.Written > c.Size:
		return c.Corrupt("%d of its %d bytes are written", c.Written, c.Size)
	case c.Size == 0:
		return nil
	case !s.valid(c.First):
		return c.Corrupt("it begins at cluster %d", c.First)
	case c.Unchained && c.need() > s.Count-(c.First-2):
		return c.Corrupt("its %d clusters from %d on end beyond the volume", c.need(), c.First)
	}
	return nil
}

// need is how many clusters the size takes.
func (c *Chain) need() uint32 { return uint32((c.Size + c.Space.Cluster - 1) / c.Space.Cluster) }

// Corrupt is an error of what the chain is of.
func (c *Chain) Corrupt(why string, args ...any) error {
	return &tree.CorruptError{What: c.What, Why: fmt.Sprintf(why, args...), At: c.At}
}

// ToItsEnd sets the size of what nothing but its chain tells the size of, and returns what is wrong with
// the chain. What was found before that can be read.
func (c *Chain) ToItsEnd(most int64) error {
	s := c.Space
	if !s.valid(c.First) {
		return c.Corrupt("it begins at cluster %d", c.First)
	}
	c.Size = min(most, s.bytes()) + s.Cluster
	c.once.Do(c.walk)
	switch {
	case c.ended:
		c.err = nil
	case c.err == nil:
		c.err = c.Corrupt("its chain has no end within %d bytes", most)
	}
	c.Size = int64(c.end) * s.Cluster
	c.Written = c.Size
	return c.err
}

// Parts yields where the chain lies on the volume, and then what is wrong with it.
func (c *Chain) Parts() iter.Seq2[tree.Extent, error] {
	return func(yield func(tree.Extent, error) bool) {
		c.once.Do(c.walk)
		for index := uint32(0); index < c.end; {
			cluster, count, err := c.locate(index)
			if err != nil || !yield(tree.Extent{Off: c.Space.place(cluster), Len: int64(count) * c.Space.Cluster}, err) {
				return
			}
			index += count
		}
		if c.err != nil {
			yield(tree.Extent{}, c.err)
		}
	}
}

// walk finds the clusters that the size needs, once. A chain that ends too soon
// can be read up to there, one in a circle not at all: a long one is found by
// Brent's algorithm while it is walked, the others in what was gathered.
func (c *Chain) walk() {
	if c.Unchained {
		c.runs, c.end = []run{{cluster: c.First, count: c.need()}}, c.need()
		return
	}
	c.follow()
	if c.ended || c.end == 0 {
		return
	}
	byPlace := slices.SortedFunc(slices.Values(c.runs), func(a, b run) int { return cmp.Compare(a.cluster, b.cluster) })
	for i := 1; i < len(byPlace); i++ {
		if before := byPlace[i-1]; before.cluster+before.count > byPlace[i].cluster {
			c.end, c.err = 0, c.Corrupt("its chain comes to cluster %d twice", byPlace[i].cluster)
			return
		}
	}
}

func (c *Chain) follow() {
	need := c.need()
	table := c.Space.Cursor()
	cluster, mark, lap := c.First, uint32(0), uint32(1)
	for c.end < need {
		c.add(cluster)
		if c.end == need {
			return
		}
		next, end, err := table.Next(cluster)
		switch {
		case err != nil:
			c.err = fmt.Errorf("%s: %w", c.What, err)
			return
		case end:
			c.ended, c.err = true, c.Corrupt("its chain ends after %d of %d clusters", c.end, need)
			return
		case next == mark || next == cluster:
			c.end, c.err = 0, c.Corrupt("its chain goes in circles at cluster %d", next)
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
func (c *Chain) add(cluster uint32) {
	n := len(c.runs)
	if n > 0 {
		last := &c.runs[n-1]
		if last.index+last.count == c.end && last.cluster+last.count == cluster {
			last.count++
			c.end++
			return
		}
	}
	if n >= c.Space.MaxRuns {
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
func (c *Chain) locate(index uint32) (cluster, count uint32, err error) {
	if index >= c.end {
		return 0, 0, c.err
	}
	r := c.runs[sort.Search(len(c.runs), func(i int) bool { return c.runs[i].index > index })-1]
	if in := index - r.index; in < r.count {
		return r.cluster + in, r.count - in, nil
	}
	table := c.Space.Cursor()
	cluster = r.cluster + r.count - 1
	for at := r.index + r.count - 1; at < index; at++ {
		next, end, err := table.Next(cluster)
		if err != nil || end {
			return 0, 0, c.Corrupt("its chain has changed: %v", err)
		}
		cluster = next
	}
	return cluster, 1, nil
}

// ReadAt reads straight into p, with one read of the volume for each run.
func (c *Chain) ReadAt(p []byte, off int64) (done int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("%s: read at %d", c.What, off)
	}
	if off >= c.Size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > c.Size-off {
		p, end = p[:c.Size-off], io.EOF
	}
	data := p[:min(int64(len(p)), max(c.Written-off, 0))]
	c.once.Do(c.walk)
	for done < len(data) {
		at := off + int64(done)
		cluster, count, err := c.locate(uint32(at / c.Space.Cluster))
		if err != nil {
			return done, err
		}
		in := at % c.Space.Cluster
		part := data[done:]
		part = part[:min(int64(count)*c.Space.Cluster-in, int64(len(part)))]
		if err := tree.ReadFull(c.Space.R, part, c.Space.place(cluster)+in); err != nil {
			return done, fmt.Errorf("%s at %d of the volume: %w", c.What, c.Space.place(cluster)+in, err)
		}
		done += len(part)
	}
	clear(p[done:])
	return len(p), end
}

// Extents yields what was written: the rest of the clusters holds nothing.
func (c *Chain) Extents() iter.Seq2[tree.Extent, error] {
	return func(yield func(tree.Extent, error) bool) {
		if c.Written > 0 {
			yield(tree.Extent{Len: c.Written}, nil)
		}
	}
}
