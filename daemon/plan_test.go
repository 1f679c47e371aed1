package daemon

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/config"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04", "2006-01-02 15:04:05"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC()
		}
	}
	t.Fatalf("%q is no time", text)
	return time.Time{}
}

func nightly(zone string) blockstore.Policy {
	return blockstore.Policy{Name: "nightly", Machines: []string{"*"}, Schedule: "daily at 22:00", Zone: zone, Changed: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), Keep: blockstore.Keep{Daily: 7}}
}

func aMachine(name string) machineFacts {
	return machineFacts{machine: blockstore.Machine{ID: blockstore.MachineID(name), Name: name, Protected: &blockstore.Protection{Since: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), VM: blockstore.VM{Name: name}}}}
}

// tells says what is decided in a line: what is started, and when it is looked at again.
func tells(orders []order, wake time.Time) string {
	var words []string
	for _, o := range orders {
		w := o.request.Kind
		if o.request.Machine != "" {
			w += " " + o.request.Machine
		}
		if o.request.Prune != nil && len(o.request.Prune.Machines) > 0 {
			w += " of " + strings.Join(o.request.Prune.Machines, "+")
		}
		if o.attempt > 1 {
			w += fmt.Sprintf(" attempt %d", o.attempt)
		}
		words = append(words, w)
	}
	if len(words) == 0 && !wake.IsZero() {
		words = append(words, "wait until "+wake.UTC().Format("2006-01-02 15:04"))
	}
	return strings.Join(words, ", ")
}

// A machine has one point; what is due when a clock shows something.
func TestAMachineIsDueWhenItsScheduleSaysSo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ zone, schedule, window, last, now, want string }{
		{"Europe/Berlin", "daily at 22:00", "", "2026-01-10 21:05", "2026-01-11 20:59", "wait until 2026-01-11 21:00"},
		{"Europe/Berlin", "daily at 22:00", "", "2026-01-10 21:05", "2026-01-11 21:00", "backup m"},
		{"America/New_York", "daily at 22:00", "", "2026-01-10 03:05", "2026-01-11 02:59", "wait until 2026-01-11 03:00"},
		{"Pacific/Chatham", "daily at 22:00", "", "2026-07-10 09:20", "2026-07-11 09:14", "wait until 2026-07-11 09:15"},
		// The clocks go forward over 02:30 in Berlin on 2026-03-29, and back over it on 2026-10-25.
		{"Europe/Berlin", "daily at 02:30", "", "2026-03-28 01:30", "2026-03-29 00:59", "wait until 2026-03-29 01:00"},
		{"Europe/Berlin", "daily at 02:30", "", "2026-03-29 01:00:01", "2026-03-29 12:00", "wait until 2026-03-30 00:30"},
		{"Europe/Berlin", "daily at 02:30", "", "2026-10-24 00:31", "2026-10-25 00:29", "wait until 2026-10-25 00:30"},
		{"Europe/Berlin", "daily at 02:30", "", "2026-10-25 00:31", "2026-10-25 01:45", "wait until 2026-10-26 01:30"},
		{"Europe/Berlin", "hourly", "", "2026-10-25 00:00:01", "2026-10-25 00:59", "wait until 2026-10-25 01:00"},
		{"UTC", "monthly on last day at 12:00", "", "2028-02-01 00:00", "2028-02-28 13:00", "wait until 2028-02-29 12:00"},
		{"UTC", "0 12 29 2 *", "", "2026-03-01 00:00", "2027-06-01 00:00", "wait until 2028-02-29 12:00"},
		{"UTC", "every 4h", "", "2026-05-01 00:10", "2026-05-01 03:00", "wait until 2026-05-01 04:00"},
		// A week without the daemon is caught up once.
		{"UTC", "daily at 22:00", "", "2026-05-01 22:00:05", "2026-05-08 09:00", "backup m"},
		{"UTC", "daily at 22:00", "", "2026-05-08 09:00:05", "2026-05-08 09:01", "wait until 2026-05-08 22:00"},
		{"UTC", "daily at 22:00", "22:00-06:00", "2026-05-01 22:00:05", "2026-05-08 09:00", "wait until 2026-05-08 22:00"},
		{"UTC", "daily at 22:00", "22:00-06:00", "2026-05-01 22:00:05", "2026-05-08 05:59", "backup m"},
		// A clock that went back a month, and one that went on by a year.
		{"UTC", "daily at 22:00", "", "2026-06-08 22:00:05", "2026-05-08 21:00", "wait until 2026-05-08 22:00"},
		{"UTC", "daily at 22:00", "", "2026-06-08 22:00:05", "2026-05-08 22:00", "backup m"},
		{"UTC", "daily at 22:00", "", "2026-05-08 22:00:05", "2027-05-08 12:00", "backup m"},
	} {
		p := nightly(c.zone)
		p.Schedule, p.Window = c.schedule, c.window
		m := aMachine("m")
		m.newest = at(t, c.last)
		s := situation{now: at(t, c.now), policies: []blockstore.Policy{p}, machines: []machineFacts{m}}
		s.epoch = s.now.Add(-2 * time.Hour)
		if got := tells(s.decide()); got != c.want {
			t.Errorf("%s %s %s, last %s, now %s: %q, want %q", c.zone, c.schedule, c.window, c.last, c.now, got, c.want)
		}
	}
}

func TestAFailedRunIsTriedAgainLaterEachTime(t *testing.T) {
	t.Parallel()
	begun := at(t, "2026-05-08 22:00")
	job := func(state string, attempt, exit int, took time.Duration) *api.Job {
		started, ended := api.At(begun), api.At(begun.Add(took))
		j := &api.Job{ID: "j1", Kind: api.JobBackup, State: state, Attempt: attempt, Policy: "nightly", Queued: started, Started: &started, Ended: &ended}
		if exit > 0 {
			j.Error = &api.Problem{Exit: exit}
		}
		return j
	}
	tomorrow := "wait until 2026-05-09 22:00"
	never := job(api.JobInterrupted, 4, 0, time.Minute)
	never.Started = nil
	byHand := job(api.JobFailed, 1, 1, time.Minute)
	byHand.Policy = ""
	for _, c := range []struct {
		job         *api.Job
		now, window string
		want        string
	}{
		{job(api.JobFailed, 1, 1, time.Minute), "2026-05-08 22:02", "", "wait until 2026-05-08 22:06"},
		{job(api.JobFailed, 1, 1, time.Minute), "2026-05-08 22:06", "", "backup m attempt 2"},
		{job(api.JobFailed, 2, 5, time.Minute), "2026-05-08 22:10", "", "wait until 2026-05-08 22:11"},
		{job(api.JobFailed, 3, 1, time.Minute), "2026-05-08 22:21", "", "backup m attempt 4"},
		{job(api.JobFailed, 4, 1, time.Minute), "2026-05-09 12:00", "", tomorrow},
		{job(api.JobFailed, 1, 8, time.Minute), "2026-05-09 12:00", "", tomorrow}, // a lock or another VM
		{job(api.JobFailed, 1, 6, time.Minute), "2026-05-09 12:00", "", tomorrow}, // the VM is gone
		{job(api.JobCancelled, 1, 0, time.Minute), "2026-05-09 12:00", "", tomorrow},
		{job(api.JobCompleted, 1, 0, time.Minute), "2026-05-09 12:00", "", tomorrow},
		{job(api.JobInterrupted, 1, 0, time.Minute), "2026-05-08 22:02", "", "backup m attempt 2"},
		{never, "2026-05-08 22:02", "", "backup m attempt 4"},
		{byHand, "2026-05-09 12:00", "", tomorrow},
		{job(api.JobFailed, 1, 1, 2*time.Hour), "2026-05-09 00:03", "22:00-00:02", tomorrow},
		{job(api.JobFailed, 1, 1, time.Minute), "2026-05-12 22:05", "", "backup m"}, // a new run took its place
		{job(api.JobRunning, 1, 0, time.Minute), "2026-05-12 22:05", "", ""},
		{job(api.JobQueued, 1, 0, time.Minute), "2026-05-12 22:05", "", ""},
	} {
		p := nightly("UTC")
		p.Window = c.window
		m := aMachine("m")
		m.last = c.job
		s := situation{now: at(t, c.now), policies: []blockstore.Policy{p}, machines: []machineFacts{m}, pruned: at(t, c.now), epoch: begun}
		if got := tells(s.decide()); got != c.want {
			t.Errorf("%s, attempt %d, at %s %s: %q, want %q", c.job.State, c.job.Attempt, c.now, c.window, got, c.want)
		}
	}
}

func TestOnlyMachinesThatMayBeAreBackedUp(t *testing.T) {
	t.Parallel()
	now := at(t, "2026-05-08 22:00")
	held, unprotected, other, twice := aMachine("held"), aMachine("unprotected"), aMachine("x-other"), aMachine("twice")
	held.heldUntil = now.Add(time.Hour)
	unprotected.machine.Protected = nil
	tagged := aMachine("zz")
	tagged.machine.Protected.Tags = []string{"gold"}
	p, db, more := nightly("UTC"), nightly("UTC"), nightly("UTC")
	p.Machines = []string{"held", "unprotected", "web*", "tw*"}
	db.Name, db.Machines, db.Priority, db.Tag = "db", []string{"db*"}, 5, "gold"
	more.Name, more.Machines = "more", []string{"*ce"}
	s := situation{now: now, policies: []blockstore.Policy{p, db, more}, machines: []machineFacts{aMachine("web2"), held, unprotected, other, twice, aMachine("web1"), tagged, aMachine("db1")}}
	for i := range s.machines {
		s.machines[i].newest = now.Add(-24 * time.Hour)
	}
	orders, wake := s.decide()
	if got := tells(orders, wake); got != "backup db1, backup zz, backup web1, backup web2" || !wake.Equal(held.heldUntil) {
		t.Errorf("%q, and again at %v", got, wake)
	}
	for _, o := range orders {
		if o.due.IsZero() || o.attempt != 1 || o.policy == "" {
			t.Errorf("%+v", o)
		}
	}
}

func TestARunEndsWithItsWindowAndItsLimit(t *testing.T) {
	t.Parallel()
	p := nightly("Europe/Berlin")
	p.Window, p.Limit, p.ReadRate, p.WriteRate = "22:00-06:00", 3600, 100, 200
	m := aMachine("m")
	m.newest = at(t, "2026-03-27 22:00")
	s := situation{now: at(t, "2026-03-28 21:30"), policies: []blockstore.Policy{p}, machines: []machineFacts{m}}
	orders, _ := s.decide()
	if len(orders) != 1 || !orders[0].until.Equal(at(t, "2026-03-29 04:00")) || orders[0].limit != time.Hour || orders[0].request.Backup.Rate != 100 || orders[0].request.Backup.WriteRate != 200 {
		t.Errorf("%+v", orders) // the window ends at 06:00 of summer time
	}
}

func TestScansAfterARestartOfTheHostAreSpread(t *testing.T) {
	t.Parallel()
	boot := at(t, "2026-05-08 21:00")
	due := at(t, "2026-05-08 22:00")
	p := nightly("UTC")
	s := situation{now: due, booted: boot, host: "h", policies: []blockstore.Policy{p}, pruned: boot}
	for i := range 60 {
		m := aMachine(fmt.Sprintf("m%02d", i))
		m.newest, m.scans = boot.Add(-23*time.Hour), i < 50
		s.machines = append(s.machines, m)
	}
	begun := map[string]time.Time{}
	for end := due.Add(spreadScans + time.Minute); s.now.Before(end); {
		orders, wake := s.decide()
		for _, o := range orders {
			begun[o.request.Machine] = s.now
			for i := range s.machines {
				if s.machines[i].machine.Name == o.request.Machine {
					s.machines[i].newest = s.now
				}
			}
		}
		if len(orders) == 0 {
			s.now = wake
		}
	}
	hours := map[int]int{}
	for _, at := range begun {
		hours[int(at.Sub(due)/time.Hour)]++
	}
	if len(begun) != 60 || hours[0] < 10 || hours[0] > 30 || len(hours) < 5 {
		t.Errorf("%d began, in each hour %v", len(begun), hours)
	}
}

func TestTheVaultIsLookedAfterOnTime(t *testing.T) {
	t.Parallel()
	c, err := config.Read([]byte("vaults: [{path: /v}]"), "Europe/Berlin", nil)
	if err != nil {
		t.Fatal(err)
	}
	v := c.Vaults[0]
	sunday := at(t, "2026-05-10 01:00") // 03:00 in Berlin
	tasks := func(last time.Time) []taskFacts {
		return []taskFacts{{kind: api.JobSweep, schedule: v.Sweep.Schedule(v.Timezone), last: last}, {kind: taskVerify, schedule: v.Verify.Schedule(v.Timezone), last: last, percent: 2.5}}
	}
	s := situation{now: sunday.Add(-time.Minute), tasks: tasks(sunday.AddDate(0, 0, -3)), epoch: sunday.AddDate(0, 0, -3)}
	orders, wake := s.decide()
	if len(orders) != 1 || orders[0].request.Check == nil || orders[0].request.Check.Percent != 2.5 || !orders[0].request.Check.Data || !orders[0].low {
		t.Errorf("%+v", orders) // it is behind with reading back
	}
	if wake.Before(sunday) || wake.After(sunday.Add(taskJitter)) {
		t.Errorf("the sweep is at %v", wake)
	}
	s.tasks = tasks(s.now)
	s.now, s.tasks[1].percent = sunday.Add(taskJitter), 0
	if orders, _ = s.decide(); tells(orders, time.Time{}) != "sweep" || !orders[0].low {
		t.Errorf("%+v", orders)
	}
	s.tasks[0].waits = true
	if orders, wake := s.decide(); len(orders) > 0 || !wake.IsZero() {
		t.Errorf("%+v, %v", orders, wake)
	}
}

func TestMachinesArePrunedAfterTheirBackups(t *testing.T) {
	t.Parallel()
	now := at(t, "2026-05-08 23:00")
	ended := api.At(now.Add(-10 * time.Minute))
	machine := func(name, state string) machineFacts {
		m := aMachine(name)
		m.last = &api.Job{State: state, Queued: ended, Started: &ended, Ended: &ended, Attempt: 1}
		return m
	}
	p, all := nightly("UTC"), nightly("UTC")
	all.Name, all.Machines, all.Keep = "all", []string{"all"}, blockstore.Keep{}
	s := situation{now: now, policies: []blockstore.Policy{p, all}, machines: []machineFacts{machine("a", api.JobCompleted), machine("b", api.JobWarnings), machine("c", api.JobCancelled), machine("all", api.JobCompleted)}}
	if got := tells(s.decide()); got != "prune of a+b" {
		t.Errorf("%q", got)
	}
	s.busy = true
	if got := tells(s.decide()); got != "wait until 2026-05-08 23:50" {
		t.Errorf("while backups run: %q", got)
	}
	s.now = now.Add(pruneAfter)
	if got := tells(s.decide()); got != "prune of a+b" {
		t.Errorf("after an hour: %q", got)
	}
	s.pruned = now
	if orders, _ := s.decide(); len(orders) > 0 {
		t.Errorf("again: %+v", orders)
	}
}

// TestMachinesArePrunedOnceAfterAClockWentBack has all machines' pruning be dated later than now, by a clock that was
// wrong then.
func TestMachinesArePrunedOnceAfterAClockWentBack(t *testing.T) {
	t.Parallel()
	begun := at(t, "2026-05-08 22:00")
	later := begun.AddDate(1, 0, 0)
	ended := api.At(later)
	m := aMachine("a")
	m.last = &api.Job{State: api.JobCompleted, Queued: ended, Started: &ended, Ended: &ended, Attempt: 1}
	s := situation{now: begun.Add(time.Minute), epoch: begun, pruned: later, policies: []blockstore.Policy{nightly("UTC")}, machines: []machineFacts{m},
		tasks: []taskFacts{{kind: api.JobPrune, last: later}}}
	if got := tells(s.decide()); got != "prune of a" {
		t.Errorf("%q", got)
	}
	s.pruned = s.now
	s.now = s.now.Add(time.Second)
	if orders, _ := s.decide(); len(orders) > 0 {
		t.Errorf("again: %+v", orders)
	}
}

// TestAScheduleGoesByWhatTheClockShows asks for times that are compared by that alone, or a clock that is set back
// while the daemon runs would not be seen.
func TestAScheduleGoesByWhatTheClockShows(t *testing.T) {
	t.Parallel()
	s := scheduler{clock: time.Now}
	if now := s.now(); now != now.Round(0) {
		t.Errorf("%v knows of the time that passed", now)
	}
}
