package main

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

func TestADeletedPointIsOutOfSightAndComesBack(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	newest, oldest := y.points[1].ID, y.points[0].ID
	y.must(exitDone, "point", "delete", "web1@latest").says(t, newest)
	y.must(exitDone, "point", "show", "web1@latest").says(t, oldest)
	if p := y.list(); len(p) != 1 || p[0].ID != oldest {
		t.Errorf("listed are %+v", p)
	}
	y.must(exitDone, "points", "--all").says(t, "deleted 20")
	y.must(exitDone, "points", "--trash").says(t, newest)
	y.must(exitDone, "trash").says(t, newest)
	y.must(exitDone, "trash", "list", "web1", "--exclusive").says(t, "EXCLUSIVE")
	y.must(exitDone, "point", "show", "web1@"+newest).says(t, "in the trash")
	y.must(exitDone, "vault", "info").says(t, "1, for 14 days each")
	y.must(exitNotFound, "restore", "web1@"+newest, "--disk", "vda", "--to", y.path("x"))
	y.must(exitNotFound, "point", "undelete", "web1@"+oldest).says(t, "not in the trash")
	y.must(exitNotFound, "point", "delete", "web1@"+oldest, "web1@1999") // neither
	if p := y.list(); len(p) != 1 {
		t.Errorf("of two points, one of which is not there, the other was deleted: %+v", p)
	}
	y.must(exitDone, "point", "undelete", "web1@"+newest)
	y.must(exitDone, "restore", "web1@latest", "--disk", "vda", "--to", y.path("back"), "--quiet")
	y.holds("back", y.vda[1])
	y.must(exitDone, "point", "delete", "web1@"+newest, "web1@"+oldest)
	var trash []api.Trashed
	if err := json.Unmarshal([]byte(y.must(exitDone, "trash", "--json").out), &trash); err != nil || len(trash) != 2 {
		t.Fatalf("%+v, %v", trash, err)
	}
	if at := trash[0]; at.Deleted == nil || at.DropsOn.Sub(at.Deleted.Time) != 14*24*time.Hour {
		t.Errorf("%+v", at)
	}
}

func TestALockedPointIsNotDropped(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	id := y.points[0].ID
	y.must(exitDone, "point", "lock", "web1@"+id, "--until", "90d").says(t, "cannot be undone")
	y.must(exitRefused, "point", "lock", "web1@"+id, "--until", "89d").says(t, "never gets shorter")
	y.must(exitDone, "point", "lock", "web1@"+id, "--until", "91d")
	y.must(exitDone, "point", "note", "web1@"+id, "before the upgrade")
	y.must(exitDone, "point", "show", "web1@"+id).says(t, "before the upgrade")
	y.must(exitDone, "point", "delete", "web1@"+id).says(t, "locked")
	y.must(exitRefused, "trash", "empty", "web1@"+id, "--now", "--yes").says(t, "locked")
	y.must(exitWarnings, "trash", "empty", "--now", "--yes").says(t, "nothing in the trash can be dropped")
	y.must(exitDone, "sweep", "--now", "--full")
	y.must(exitDone, "point", "undelete", "web1@"+id)
	y.must(exitDone, "restore", "web1@"+id, "--disk", "vda", "--to", y.path("back"), "--quiet")
	y.holds("back", y.vda[0])
}

func TestEmptyingTheTrashIsConfirmedAndCannotBeUndone(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	id := y.points[0].ID
	y.must(exitDone, "point", "delete", "web1@"+id)
	y.must(exitUsage, "trash", "empty").says(t, "--now")
	y.must(exitUsage, "trash", "empty", "--now").says(t, "--yes")
	if o := y.answer("no\n", "trash", "empty", "--now"); o.code != exitFailed || !strings.Contains(o.err, "nothing was changed") {
		t.Errorf("%+v", o)
	}
	y.must(exitDone, "trash").says(t, id)
	if o := y.answer("web1\n", "trash", "empty", "--now"); o.code != exitDone || !strings.Contains(o.out, "dropped web1@") {
		t.Errorf("%+v", o)
	}
	y.must(exitNotFound, "point", "undelete", "web1@"+id)
	y.must(exitDone, "trash").says(t, "empty")
	y.must(exitDone, "restore", "web1@latest", "--disk", "vda", "--to", y.path("back"), "--quiet")
	y.holds("back", y.vda[1])
	y.must(exitDone, "check", "--data").says(t, "no faults")
}

// answer runs words with a person who types text.
func (s *shell) answer(text string, words ...string) outcome {
	var out, err bytes.Buffer
	k := &console{out: &out, err: &err, in: strings.NewReader(text), getenv: func(n string) string { return s.env[n] }, local: time.UTC}
	return outcome{code: run(s.ctx, k, words), out: out.String(), err: err.String()}
}

func TestWhatASweepFreesWasToldBefore(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	disk := make([]byte, 24<<20)
	rng := rand.NewChaCha8([32]byte{7})
	rng.Read(disk)
	var ids []string
	for range 4 {
		rng.Read(disk[rng.Uint64()%8<<20:][:6<<20])
		y.write("vda.img", disk)
		y.backup("--quiet")
		points := y.list()
		ids = append(ids, "web1@"+points[len(points)-1].ID)
	}
	y.must(exitDone, "sweep", "--now", "--full", "--quiet") // from here on, all is needed
	var e api.Exclusive
	y.decode(&e, "point", "show", "--exclusive", "--json", ids[1], ids[2])
	y.must(exitDone, "point", "show", "--exclusive", ids[1], ids[2]).says(t, "together ")
	var plan api.FreePlan
	y.decode(&plan, "sweep", "--plan-free", "1MiB", "--json")
	if !plan.Enough || plan.Points[0].ID != y.points[0].ID {
		t.Errorf("the plan is %+v", plan)
	}
	y.must(exitWarnings, "sweep", "--plan-free", "1TiB").says(t, "holdfast point delete web1@")
	y.must(exitDone, "point", "delete", ids[1], ids[2])
	var dry, done api.Sweep
	y.decode(&dry, "sweep", "--now", "--full", "--dry-run", "--json")
	if dry.Freed != 0 || dry.Trash == 0 || dry.TrashUntil == nil {
		t.Errorf("with all in the trash: %+v", dry)
	}
	y.must(exitDone, "sweep", "--dry-run").says(t, "only points in the trash name them")
	y.decode(&done, "trash", "empty", "--now", "--yes", "--json")
	var full api.Sweep
	y.decode(&full, "sweep", "--now", "--full", "--json")
	if freed := done.Freed + full.Freed; e.Bytes < 1<<20 || freed < e.Bytes*95/100 || freed > e.Bytes*105/100 {
		t.Errorf("%d bytes were told, %d freed", e.Bytes, freed)
	}
	y.must(exitDone, "check", "--data").says(t, "no faults")
}

// decode runs words and reads what they print.
func (s *shell) decode(into any, words ...string) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.must(exitDone, append(words, "--quiet")...).out), into); err != nil {
		s.t.Fatal(err)
	}
}

func TestATimeToLockUntilIsADateOrATimeFromNow(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 22, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"90d": "2027-02-20T22:00:00Z", "36h": "2026-11-24T10:00:00Z", "2w": "2026-12-06T22:00:00Z", "1y": "2027-11-22T22:00:00Z",
		"2033-12-31": "2033-12-31T23:59:59Z", "2033-12-31T18:00:00+01:00": "2033-12-31T17:00:00Z",
		"2026-11-22": "2026-11-22T23:59:59Z", "2026-11-21": "", "": "", "d": "", "-1d": "", "0d": "", "1.5d": "", "90": "", "101y": "",
		"9999999999999999999d": "", "tomorrow": "", "2033-13-01": "", "9999-12-31": "",
	} {
		got, err := parseUntil(text, now)
		if (err == nil) != (want != "") || err == nil && got.Format(time.RFC3339) != want {
			t.Errorf("%q is %v, %v; want %q", text, got, err, want)
		}
	}
}

func TestAFullVaultSaysWhatHelps(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.must(exitDone, "point", "delete", "web1@"+y.points[0].ID)
	o := y.must(exitFull, "backup", "web1", "--min-free", "1000PiB", "--disk", "vda="+y.path("vda.img"))
	o.says(t, "only in the trash (1 point): `holdfast trash empty --now`")
	o.says(t, "--plan-free")
}

func TestTheTrashKeepsPointsAsLongAsTheVaultSays(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.env["HOLDFAST_VAULT"] = t.TempDir() + "/vault"
	s.must(exitUsage, "vault", "create", s.env["HOLDFAST_VAULT"], "--trash-days", "0")
	s.must(exitDone, "vault", "create", s.env["HOLDFAST_VAULT"], "--trash-days", "30")
	s.must(exitDone, "vault", "info").says(t, "0, for 30 days each")
	s.must(exitDone, "vault", "trust-clock", "--yes").says(t, "is believed")
	s.must(exitDone, "sweep").says(t, "freed 0 B")
	s.must(exitDone, "trash").says(t, "is empty")
}
