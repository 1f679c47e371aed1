package daemon

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/policy"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// year is a host whose clock is turned by the test: machines, a queue of jobs of which some
// run at a time, a daemon that stops and is killed, and machines that are held.
type year struct {
	t     *testing.T
	rnd   *rand.Rand
	now   time.Time
	up    time.Time // the daemon is, from then on
	s     situation
	queue []*yearJob
	run   []*yearJob
	of    map[string]*yearMachine
	ids   int

	runs, retried, caughtUp, pruned int
}

type yearMachine struct {
	facts   *machineFacts
	policy  blockstore.Policy
	dues    []time.Time // by the model: every instant at which a run is due, its jitter included
	begun   time.Time   // when the last run began
	points  []policy.Point
	windows func(time.Time) bool
}

type yearJob struct {
	job  *api.Job
	ends time.Time
	o    order
	m    *yearMachine
}

const atOnce = 3

// TestAYearPassesAndNoRunIsMissedOrDoneTwice plays a year with several policies in several time zones.
// At each step, a model that knows nothing but a list of instants says whether a run is owed; at each
// pruning another one says which points must be there.
func TestAYearPassesAndNoRunIsMissedOrDoneTwice(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2, 3} {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			y := newYear(t, seed)
			end := y.now.AddDate(1, 0, 0)
			for y.now.Before(end) {
				y.step()
			}
			if y.runs < 3000 || y.retried < 50 || y.caughtUp < 20 || y.pruned < 1000 {
				t.Errorf("that was no year: %d runs, %d tried again, %d caught up, %d points pruned", y.runs, y.retried, y.caughtUp, y.pruned)
			}
		})
	}
}

func newYear(t *testing.T, seed uint64) *year {
	begin := time.Date(2027, 12, 20, 12, 0, 0, 0, time.UTC) // 2028 is a leap year
	y := &year{t: t, rnd: rand.New(rand.NewPCG(seed, 7)), now: begin, up: begin, of: map[string]*yearMachine{}}
	y.s = situation{host: "host", epoch: begin}
	night := func(at int) func(time.Time) bool {
		zone, _ := time.LoadLocation("Europe/Berlin")
		return func(t time.Time) bool { h := t.In(zone).Hour(); return h >= at || h < 6 }
	}
	always := func(time.Time) bool { return true }
	for i, p := range []blockstore.Policy{
		{Name: "a", Schedule: "daily at 22:00", Zone: "Europe/Berlin", Window: "22:00-06:00", Jitter: 1800, Keep: blockstore.Keep{Daily: 7, Weekly: 4, Monthly: 12}},
		{Name: "b", Schedule: "every 4h", Zone: "America/New_York", Keep: blockstore.Keep{Last: 3, Hourly: 24, Yearly: 1}, Retries: 1},
		{Name: "c", Schedule: "weekly on sunday at 03:10", Zone: "Australia/Lord_Howe", Jitter: 600, Keep: blockstore.Keep{Weekly: 5}},
	} {
		p.Machines, p.Changed = []string{p.Name + "*"}, begin
		y.s.policies = append(y.s.policies, p)
		for n := range []int{6, 2, 4}[i] {
			f := aMachine(fmt.Sprintf("%s%d", p.Name, n))
			f.machine.Protected.Since = begin
			y.s.machines = append(y.s.machines, f)
			y.of[f.machine.Name] = &yearMachine{policy: p, dues: duesOf(t, p, begin), begun: begin, windows: always}
			if p.Window != "" {
				y.of[f.machine.Name].windows = night(22)
			}
		}
	}
	for i := range y.s.machines {
		y.of[y.s.machines[i].machine.Name].facts = &y.s.machines[i]
	}
	return y
}

// duesOf lists the instants of a schedule, from what a calendar says.
func duesOf(t *testing.T, p blockstore.Policy, from time.Time) (dues []time.Time) {
	t.Helper()
	zone, err := time.LoadLocation(p.Zone)
	if err != nil {
		t.Fatal(err)
	}
	late := policy.Jitter(time.Duration(p.Jitter)*time.Second, "host "+p.Name)
	local := from.In(zone)
	for day := range 400 {
		switch p.Name {
		case "a":
			dues = append(dues, time.Date(local.Year(), local.Month(), local.Day()+day, 22, 0, 0, 0, zone).Add(late))
		case "c":
			if d := time.Date(local.Year(), local.Month(), local.Day()+day, 3, 10, 0, 0, zone); d.Weekday() == time.Sunday {
				dues = append(dues, d.Add(late))
			}
		}
	}
	if p.Name == "b" {
		first := time.Date(2001, 1, 1, 0, 0, 0, 0, zone)
		for at := first; at.Before(from.AddDate(1, 1, 0)); at = at.Add(4 * time.Hour) {
			if at.After(from) {
				dues = append(dues, at.Add(late))
			}
		}
	}
	return dues
}

// owed tells, by the model, whether a run is due since the last one began.
func (m *yearMachine) owed(now time.Time) int {
	after := func(t time.Time) int { // how many are not later
		n, _ := slices.BinarySearchFunc(m.dues, t, func(d, t time.Time) int {
			if d.After(t) {
				return 1
			}
			return -1
		})
		return n
	}
	return after(now) - after(m.begun)
}

// step lets the next thing happen.
func (y *year) step() {
	y.begin()
	var orders []order
	next := y.now.Add(24 * time.Hour)
	if !y.now.Before(y.up) {
		y.s.now, y.s.busy = y.now, len(y.queue)+len(y.run) > 0
		var wake time.Time
		orders, wake = y.s.decide()
		if !wake.IsZero() && wake.Before(next) {
			next = wake
		}
	} else {
		next = y.up
	}
	for _, o := range orders {
		y.obey(o)
	}
	y.begin()
	y.nothingIsOwed()
	for _, j := range y.run {
		if j.ends.Before(next) {
			next = j.ends
		}
	}
	for _, j := range slices.Concat(y.run, y.queue) {
		if !j.o.until.IsZero() && j.o.until.Before(next) {
			next = j.o.until
		}
	}
	if !next.After(y.now) {
		y.t.Fatalf("%v: it is to be decided again at %v", y.now, next)
	}
	y.now = next
	y.end()
	y.mischief()
}

// obey starts what was ordered, which must be owed.
func (y *year) obey(o order) {
	if o.request.Kind == api.JobPrune {
		y.prune(o.request.Prune.Machines)
		return
	}
	m := y.of[o.request.Machine]
	f := m.facts
	switch {
	case f.waits():
		y.t.Fatalf("%v: %s has a job that is not over", y.now, o.request.Machine)
	case y.now.Before(f.heldUntil):
		y.t.Fatalf("%v: %s is held until %v", y.now, o.request.Machine, f.heldUntil)
	case !m.windows(y.now):
		y.t.Fatalf("%v: the window of %s is closed", y.now, o.request.Machine)
	case o.attempt > 1:
		if f.last == nil || f.last.State != api.JobFailed && f.last.State != api.JobInterrupted || o.attempt > service.Retries(m.policy)+1 {
			y.t.Fatalf("%v: attempt %d after %+v", y.now, o.attempt, f.last)
		}
		y.retried++
	case m.owed(y.now) == 0 && (f.last == nil || f.last.State != api.JobInterrupted || f.last.Started != nil):
		y.t.Fatalf("%v: %s is backed up, and nothing is owed since %v", y.now, o.request.Machine, m.begun)
	case m.owed(y.now) > 1:
		y.caughtUp++
	}
	y.ids++
	f.last = &api.Job{ID: fmt.Sprintf("j%06d", y.ids), Kind: api.JobBackup, State: api.JobQueued, Policy: o.policy, Attempt: o.attempt, Queued: api.At(y.now)}
	due := api.At(o.due)
	f.last.Due = &due
	y.queue = append(y.queue, &yearJob{job: f.last, o: o, m: m})
	y.runs++
}

// begin lets jobs begin that wait.
func (y *year) begin() {
	for len(y.run) < atOnce && len(y.queue) > 0 && !y.now.Before(y.up) {
		j := y.queue[0]
		y.queue, y.run = y.queue[1:], append(y.run, j)
		started := api.At(y.now)
		j.job.State, j.job.Started, j.m.begun = api.JobRunning, &started, y.now
		j.ends = y.now.Add(time.Minute + time.Duration(y.rnd.ExpFloat64()*float64(20*time.Minute))).Truncate(time.Second)
	}
}

// end ends jobs whose time has come, some of them badly, and those whose window has closed.
func (y *year) end() {
	over := func(j *yearJob, state string) {
		ended := api.At(y.now)
		j.job.State, j.job.Ended = state, &ended
		if state == api.JobFailed {
			j.job.Error = &api.Problem{Exit: 1}
		}
		if state == api.JobCompleted {
			j.m.facts.newest = j.job.Started.Time
			j.m.points = append(j.m.points, policy.Point{ID: j.job.ID, Time: j.job.Started.Time, Reached: policy.Application})
		}
	}
	left := func(list []*yearJob) (left []*yearJob) {
		for _, j := range list {
			switch {
			case !j.o.until.IsZero() && !y.now.Before(j.o.until):
				over(j, api.JobCancelled)
			case j.ends.IsZero() || y.now.Before(j.ends):
				left = append(left, j)
			case y.rnd.IntN(10) == 0:
				over(j, api.JobFailed)
			default:
				over(j, api.JobCompleted)
			}
		}
		return left
	}
	y.run, y.queue = left(y.run), left(y.queue)
}

// mischief stops the daemon, mostly for a short time, or holds a machine, now and then.
func (y *year) mischief() {
	switch y.rnd.IntN(400) {
	case 0, 1:
		hours := 1 + y.rnd.IntN(6)
		if y.rnd.IntN(5) == 0 {
			hours = 24 * (1 + y.rnd.IntN(9))
		}
		y.up = y.now.Add(time.Duration(hours) * time.Hour)
		ended := api.At(y.now)
		for _, j := range slices.Concat(y.run, y.queue) {
			j.job.State, j.job.Ended = api.JobInterrupted, &ended
		}
		y.run, y.queue = nil, nil
	case 2, 3, 4:
		m := &y.s.machines[y.rnd.IntN(len(y.s.machines))]
		m.heldUntil = y.now.Add(time.Duration(1+y.rnd.IntN(50)) * time.Hour)
	}
}

// nothingIsOwed holds the model against what was decided.
func (y *year) nothingIsOwed() {
	if y.now.Before(y.up) {
		return
	}
	for name, m := range y.of {
		if n := m.owed(y.now); n > 0 && !m.facts.waits() && !y.now.Before(m.facts.heldUntil) && m.windows(y.now) {
			y.t.Fatalf("%v: %d runs of %s are missed since %v, last %+v", y.now, n, name, m.begun, m.facts.last)
		}
	}
}

// prune prunes by the rules, and holds what is left against a model of them.
func (y *year) prune(names []string) {
	y.s.pruned = y.now
	for _, name := range names {
		m := y.of[name]
		rules, err := service.RulesOf(m.policy, m.facts.machine)
		if err != nil {
			y.t.Fatal(err)
		}
		want := promised(m.policy.Keep, rules.Zone, m.points)
		var kept []policy.Point
		for i, v := range rules.Decide(m.points, y.now) {
			if v.Keep {
				kept = append(kept, m.points[i])
			}
		}
		if got := idsOf(kept); got != want {
			y.t.Fatalf("%v: %s keeps %s, want %s", y.now, name, got, want)
		}
		y.pruned += len(m.points) - len(kept)
		m.points = kept
	}
}

// promised names the points that a retention promises to keep, counted from the newest back.
func promised(k blockstore.Keep, zone *time.Location, points []policy.Point) string {
	keep := map[string]bool{points[len(points)-1].ID: true}
	for layout, n := range map[string]int{"2006-01-02 15 MST": k.Hourly, time.DateOnly: k.Daily, "week": k.Weekly, "2006-01": k.Monthly, "2006": k.Yearly, "": k.Last} {
		last := ""
		for _, p := range slices.Backward(points) {
			at := p.Time.In(zone)
			period := at.Format(layout)
			switch layout {
			case "week":
				year, week := at.ISOWeek()
				period = fmt.Sprint(year, week)
			case "":
				period = p.ID
			}
			if n > 0 && period != last {
				keep[p.ID] = true
				last = period
				n--
			}
		}
	}
	return idsOf(slices.DeleteFunc(slices.Clone(points), func(p policy.Point) bool { return !keep[p.ID] }))
}

func idsOf(points []policy.Point) string {
	var ids []string
	for _, p := range points {
		ids = append(ids, p.ID)
	}
	return strings.Join(ids, " ")
}
