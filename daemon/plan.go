package daemon

import (
	"cmp"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/policy"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// situation is all that the schedule of one vault is decided by: nothing is asked
// while it is.
type situation struct {
	now    time.Time
	host   string    // any text that stays the same; places runs within their jitter
	booted time.Time // the host; zero: not known
	// epoch is since when this process has watched a clock that did not go back: what is dated later
	// than now is taken for a run at that time.
	epoch time.Time

	policies []blockstore.Policy
	machines []machineFacts
	tasks    []taskFacts
	busy     bool // a backup waits or runs

	pruned time.Time // when some machines' points were last looked at for pruning, all machines' apart; zero: never

	timetables map[string]policy.Timetable // of policies, by name, as far as they were needed
}

// timetable is that of a policy on this host; ok is false where it makes no sense.
func (s *situation) timetable(p blockstore.Policy) (t policy.Timetable, ok bool) {
	if t, ok = s.timetables[p.Name]; ok {
		return t, true
	}
	t, err := service.Timetable(p, s.host)
	if err != nil {
		return t, false
	}
	if s.timetables == nil {
		s.timetables = map[string]policy.Timetable{}
	}
	s.timetables[p.Name] = t
	return t, true
}

// machineFacts are what is known of a machine when it is decided.
type machineFacts struct {
	machine   blockstore.Machine
	heldUntil time.Time // no backup begins before
	newest    time.Time // point; zero: there is none
	scans     bool      // its disks lose their bitmaps with the host
	last      *api.Job  // newest backup of it in the table; nil: none
}

// taskFacts are what is known of something that is done for a vault as a whole.
type taskFacts struct {
	kind     string
	schedule policy.Schedule
	last     time.Time // when it was begun last, or since when it is watched
	waits    bool      // or runs
	percent  float64   // of a check: how much is read back; 0: nothing is
}

// order is a job that is to be started now.
type order struct {
	request  api.JobRequest // without the vault
	policy   string         // "" for what is not by policy
	due      time.Time
	attempt  int
	retryOf  string
	priority int
	low      bool          // gives way to others
	until    time.Time     // it is cancelled then, since its window ends; zero: never
	window   string        // in words
	limit    time.Duration // it may take so long; 0: as long as it does
}

// decide returns what is to be started now, what comes first first, and when to decide
// again at the latest; zero: not before something changes.
func (s *situation) decide() (orders []order, wake time.Time) {
	next := func(at time.Time) {
		if !at.IsZero() && (wake.IsZero() || at.Before(wake)) {
			wake = at
		}
	}
	for i := range s.machines {
		o, at := s.backup(&s.machines[i])
		if o != nil {
			orders = append(orders, *o)
		}
		next(at)
	}
	slices.SortStableFunc(orders, func(a, b order) int {
		return cmp.Or(cmp.Compare(b.priority, a.priority), a.due.Compare(b.due), cmp.Compare(a.request.Machine, b.request.Machine))
	})
	if o, at := s.prune(len(orders) > 0 || s.busy); o != nil {
		orders = append(orders, *o)
	} else {
		next(at)
	}
	for i := range s.tasks {
		o, at := s.task(&s.tasks[i])
		if o != nil {
			orders = append(orders, *o)
		}
		next(at)
	}
	return orders, wake
}

// past is t, or the epoch where t is dated later than now.
func (s *situation) past(t time.Time) time.Time {
	if t.After(s.now) {
		return s.epoch
	}
	return t
}

// latest returns the latest of some times.
func latest(times ...time.Time) (t time.Time) {
	for _, u := range times {
		if u.After(t) {
			t = u
		}
	}
	return t
}
