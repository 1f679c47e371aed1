package server

import (
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// reads remembers for a while what was read by whom, so that a reading in many ranges is one
// line of the audit log.
type reads struct {
	mu   sync.Mutex
	last map[string]*reading
}

// reading is what was read of one thing by one caller.
type reading struct {
	since time.Time
	said  map[string]bool // for what, as the caller said it
}

const (
	sameReading = 5 * time.Minute
	// mostReadings are remembered at once, and mostPurposes of each. A caller says what it likes, and
	// must not push others out of the audit log by that.
	mostReadings = 1024
	mostPurposes = 32
)

// first tells whether a reading is to be noted: what was not read lately, or for another purpose.
func (r *reads) first(what, said string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.last[what]; known != nil && now.Sub(known.since) < sameReading {
		if known.said[said] || len(known.said) >= mostPurposes {
			return false
		}
		known.said[said] = true
		return true
	}
	for k, known := range r.last {
		if now.Sub(known.since) >= sameReading || len(r.last) >= mostReadings {
			delete(r.last, k)
		}
	}
	if r.last == nil {
		r.last = map[string]*reading{}
	}
	r.last[what] = &reading{now, map[string]bool{said: true}}
	return true
}

// read notes a reading of content in the audit log, unless it goes on with one that is there.
func (c *call) read() {
	e := &c.entry
	if c.s.reads.first(e.Action+" "+c.who.Name+" "+e.Vault+" "+e.Machine+" "+e.Object, e.Said, time.Now()) {
		c.end(true, nil)
	}
}

// names remembers for a moment what machines are called, by vault.
type names struct {
	mu   sync.Mutex
	last map[string]namesThen
}

type namesThen struct {
	list []api.Machine // not changed any more
	at   time.Time
}

// sameNames is for how long; mostNames bounds for how many names of vaults, which callers choose.
const (
	sameNames = 2 * time.Second
	mostNames = 64
)

func (n *names) lately(vault string, now time.Time) []api.Machine {
	n.mu.Lock()
	defer n.mu.Unlock()
	if then := n.last[vault]; now.Sub(then.at) < sameNames {
		return then.list
	}
	return nil
}

func (n *names) note(vault string, list []api.Machine, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.last == nil || len(n.last) >= mostNames {
		n.last = map[string]namesThen{}
	}
	n.last[vault] = namesThen{list, now}
}
