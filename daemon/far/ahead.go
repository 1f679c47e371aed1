package far

import (
	"errors"
	"slices"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// coming is a piece that is on its way.
type coming struct {
	done chan struct{} // closed when it is here, or will not be
	data []byte        // set before that; nil: it did not come
}

var zeros = make([]byte, piece)

// piece returns piece i; nil without an error: part of it is damaged. last is the last piece that
// is wanted: those up to there are asked for together.
func (d *Disk) piece(i, last int64) ([]byte, error) {
	for {
		d.mu.Lock()
		if d.harmed[i] {
			d.mu.Unlock()
			return nil, nil
		}
		if data := d.heldLocked(i); data != nil {
			d.mu.Unlock()
			return data, nil
		}
		if c := d.coming[i]; c != nil {
			d.mu.Unlock()
			<-c.done // whoever gets it is bounded in time, and by v.ctx
			if c.data != nil {
				return c.data, nil
			}
			continue
		}
		run := d.runLocked(i, min(last, i+mostRun-1))
		d.mu.Unlock()
		err := d.fetch(run)
		if run.pieces[0].data != nil {
			return run.pieces[0].data, nil
		}
		if err != nil && !errors.As(err, new(*blockstore.CorruptError)) {
			return nil, err
		}
	}
}

// heldLocked is a piece that need not be asked for: one of the cache, or of a hole. d.mu is held.
func (d *Disk) heldLocked(i int64) []byte {
	for _, m := range d.maps {
		if n := d.lengthOf(i); m.hole(i*piece, n) {
			return zeros[:n]
		}
	}
	return d.v.cache.get(pieceKey{d, i})
}

func (d *Disk) lengthOf(i int64) int64 { return min(piece, d.info.Size-i*piece) }

// run is some pieces that follow each other, and are fetched by one request.
type run struct {
	first  int64
	pieces []*coming
}

// mostRun is how many pieces.
const mostRun = 16

// runLocked makes a run of pieces first to last, as far as they are not here nor on their way; it has one
// at least. d.mu is held.
func (d *Disk) runLocked(first, last int64) run {
	r := run{first: first}
	if d.coming == nil {
		d.coming = map[int64]*coming{}
	}
	for i := first; i <= last; i++ {
		if i > first && (d.coming[i] != nil || d.harmed[i] || d.heldLocked(i) != nil) {
			break
		}
		c := &coming{done: make(chan struct{})}
		d.coming[i] = c
		r.pieces = append(r.pieces, c)
	}
	return r
}

// fetch gets the pieces of a run; those that do not come are on their way no more.
func (d *Disk) fetch(r run) error {
	parts := make([]part, len(r.pieces))
	for k := range parts {
		parts[k].length = int(d.lengthOf(r.first + int64(k)))
	}
	came := 0
	err := d.receive(d.v.ctx, r.first*piece, parts, func(k int) {
		r.pieces[k].data = parts[k].data
		d.arrived(r.first+int64(k), r.pieces[k])
		came = k + 1
	})
	for k := came; k < len(r.pieces); k++ {
		d.arrived(r.first+int64(k), r.pieces[k])
	}
	if came < len(r.pieces) && errors.As(err, new(*blockstore.CorruptError)) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.harmed == nil {
			d.harmed = map[int64]bool{}
		}
		d.harmed[r.first+int64(came)] = true
	}
	return err
}

func (d *Disk) arrived(i int64, c *coming) {
	if c.data != nil {
		d.v.cache.put(pieceKey{d, i}, c.data)
	}
	d.mu.Lock()
	delete(d.coming, i)
	d.mu.Unlock()
	close(c.done)
}

// stream is somebody who reads the disk in order, more or less: a kernel's requests overtake each other.
type stream struct {
	next  int64 // where the furthest read ended; 0: nobody
	read  int64 // bytes, in order
	ahead int64 // up to where was read ahead
}

const (
	mostStreams = 8
	nearStream  = 1 << 20 // how far from the end of the last a read may begin
	mostAhead   = 8 << 20 // bytes
	asksMap     = 2 << 20 // from so many bytes read in order on, holes are passed over
)

// foresee reads ahead of who reads in order.
func (d *Disk) foresee(off, n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.streams[:], func(s stream) bool {
		return s.next > 0 && off >= s.next-nearStream && off <= s.next+nearStream
	})
	if d.v.ctx.Err() != nil {
		return
	}
	if i < 0 {
		d.turn = (d.turn + 1) % mostStreams
		d.streams[d.turn] = stream{next: off + n, read: n, ahead: off + n}
		return
	}
	s := &d.streams[i]
	if off+n > s.next {
		s.read += off + n - s.next
		s.next = off + n
	}
	if s.read < 2*n || s.read < 2*piece {
		return // twice is an order, once is none
	}
	target := min(s.next+min(s.read, mostAhead), d.info.Size)
	step := min(max(min(s.read, mostAhead)/2/piece, 1), mostRun) * piece
	for s.ahead = max(s.ahead, s.next); s.ahead+step <= target || s.ahead < target && target == d.info.Size; {
		next := d.startLocked(s.ahead/piece, min((s.ahead+step-1)/piece, (d.info.Size-1)/piece), s.read >= asksMap)
		if next < 0 {
			return
		}
		s.ahead = next * piece
	}
}

// startLocked has pieces fetched in the background, and returns the first that nobody looked at; negative: enough is
// under way. d.mu is held.
func (d *Disk) startLocked(first, last int64, holes bool) (next int64) {
	for first <= last && (d.coming[first] != nil || d.harmed[first] || d.heldLocked(first) != nil) {
		first++
	}
	if first > last {
		return first
	}
	select {
	case d.v.slots <- struct{}{}:
	default:
		return -1
	}
	r := d.runLocked(first, last)
	known := slices.ContainsFunc(d.maps, func(m mapped) bool { return m.from <= first*piece && first*piece < m.until })
	d.v.ahead.Go(func() { // ends with v.ctx; Close waits
		defer func() { <-d.v.slots }()
		if d.fetch(r) == nil && holes && !known { // who reads meets its error
			d.mapAt(d.v.ctx, first*piece)
		}
	})
	return first + int64(len(r.pieces))
}
