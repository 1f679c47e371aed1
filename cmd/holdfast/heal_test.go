package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// spoil flips a bit in the record of a block that both points hold. The block is found by its content, which
// does not compress: where a record lies in a pack is up to which worker was first.
func (y *yard) spoil(t *testing.T) {
	t.Helper()
	const block = 8 << 16
	held := y.vda[1][block : block+1<<16]
	packs, _ := filepath.Glob(y.path("vault/packs/*/*/*"))
	for _, p := range packs {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(b, held); at >= 0 {
			b[at+1000] ^= 4
			if err := os.WriteFile(p, b, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("no pack holds the block")
}

func TestDamageIsFoundNotedAndHealedByTheNextBackup(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.must(exitDone, "check", "--data").says(t, "all was read since")
	y.spoil(t)
	y.must(exitDamaged, "check", "--data", "--read-only")
	if notes, _ := filepath.Glob(y.path("vault/damaged/*/*")); len(notes) != 0 {
		t.Errorf("a check that only reads wrote %v", notes)
	}
	y.must(exitDone, "check").says(t, "no faults") // nobody knows yet
	y.must(exitDamaged, "check", "--data").says(t, "noted")
	y.must(exitDamaged, "check").says(t, "noted as damaged")
	y.must(exitDamaged, "check", "--data", "web1@"+y.points[0].ID).says(t, "harms machine web1")
	o := y.must(exitDone, "backup", "web1", "--min-free=none", "--json",
		"--disk", "vda="+y.path("vda.img"), "--disk", "vdb="+y.path("vdb.img"))
	var b api.Backup
	if err := json.Unmarshal([]byte(o.out), &b); err != nil || b.Healed != 1 {
		t.Errorf("healed %d, %v", b.Healed, err)
	}
	y.must(exitDone, "check").says(t, "no faults")
	y.must(exitWarnings, "check", "--data").says(t, "another copy is good")
	y.must(exitDone, "check", "--data", "web1@"+y.points[0].ID)
	y.must(exitDone, "restore", "web1@"+y.points[1].ID, "--disk", "vda", "--to", y.path("back.raw"))
	y.holds("back.raw", y.vda[1])
}

func TestACheckRewritesPacksWhoseFootersAreDamaged(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	packs, _ := filepath.Glob(y.path("vault/packs/*/*/*"))
	b, err := os.ReadFile(packs[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-70] ^= 4
	if err := os.WriteFile(packs[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	y.must(exitWarnings, "check", "--read-only").says(t, "the footer's checksum is wrong")
	y.must(exitWarnings, "check").says(t, "1 pack with a damaged header or footer rewritten")
	y.must(exitDone, "check", "--data").says(t, "no faults")
}

func TestPointsSaySinceWhenTheyWereReadBack(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	if o := y.must(exitDone, "points"); strings.Contains(o.out, "VERIFIED") {
		t.Errorf("before any check: %s", o.out)
	}
	time.Sleep(1100 * time.Millisecond) // what was read is remembered to the second
	y.must(exitDone, "check", "--data")
	y.must(exitDone, "points").says(t, "VERIFIED")
	y.must(exitDone, "point", "show", "web1@latest").says(t, "read back since")
	var p api.Point
	o := y.must(exitDone, "point", "show", "web1@latest", "--json")
	if err := json.Unmarshal([]byte(o.out), &p); err != nil || p.Verified == nil || p.Verified.Before(p.Committed.Time) {
		t.Errorf("%+v, %v", p.Verified, err)
	}
}

func TestAPartOfTheDataIsCheckedEachTime(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	done := false
	for range 20 {
		o := y.must(exitDone, "check", "--data", "--percent", "10", "--rate", "1GiB", "--json")
		var c api.Check
		if err := json.Unmarshal([]byte(o.out), &c); err != nil {
			t.Fatal(err)
		}
		if done = c.ReadSince != nil; done {
			break
		}
	}
	if !done {
		t.Error("20 parts of 10 % do not make a whole")
	}
	if files, _ := filepath.Glob(filepath.Join(y.env["HOLDFAST_STATE"], "verify", "*")); len(files) != 1 {
		t.Errorf("the state folder has %v", files)
	}
	for line, says := range map[string]string{
		"check --percent 5":                   "add --data",
		"check --rate 5MiB":                   "add --data",
		"check web1@latest":                   "add --data",
		"check --data --percent 0":            "more than 0",
		"check --data --percent NaN":          "more than 0",
		"check --data --percent 101":          "at most 100",
		"check --data --rate 0":               "--rate is 0",
		"check --data --percent 5 web1@p1":    "exclude each other",
		"vault salvage":                       "OUT is missing",
		"point give-up web1":                  "names no recovery point",
		"point give-up web1@latest":           "--yes confirms it",
		"point give-up web1@latest --wait no": "--wait",
	} {
		y.must(exitUsage, strings.Fields(line)...).says(t, says)
	}
}

func TestABrokenVaultIsSalvaged(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	for _, part := range []string{"VAULT", "segments", "points", "machines", "writers"} {
		if err := os.RemoveAll(y.path("vault/" + part)); err != nil {
			t.Fatal(err)
		}
	}
	y.must(exitDone, "vault", "salvage", y.path("empty"), "--min-free=none").says(t, "saved 0 points") // no record of any is left
	y = newYard(t)
	if err := os.RemoveAll(y.path("vault/VAULT")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(y.path("vault/points")); err != nil {
		t.Fatal(err)
	}
	y.must(exitDone, "vault", "salvage", y.path("new"), "--min-free=none").says(t, "saved 2 points")
	y.must(exitFailed, "vault", "salvage", y.path("new")).says(t, "exists already")
	y.env["HOLDFAST_VAULT"] = y.path("new")
	y.must(exitDone, "check", "--data").says(t, "no faults")
	y.must(exitDone, "restore", "web1@"+y.points[0].ID, "--disk", "vda", "--to", y.path("back.raw"))
	y.holds("back.raw", y.vda[0])
	y.spoil(t)
	o := y.must(exitDamaged, "vault", "salvage", y.path("newer"), "--vault", y.path("vault"), "--min-free=none", "--json")
	var s api.Salvage
	if err := json.Unmarshal([]byte(o.out), &s); err != nil || len(s.Harmed) == 0 || len(s.Harmed[0].Lost) != 1 || s.Bad != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	y.must(exitNotFound, "vault", "salvage", y.path("x"), "--vault", y.path("nowhere"))
}

func TestAWholePointIsNotGivenUp(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.must(exitFailed, "point", "give-up", "web1@latest", "--yes").says(t, "holdfast point delete")
	y.must(exitNotFound, "point", "give-up", "web1@p0000000000000000", "--yes")
	y.spoil(t)
	y.must(exitDamaged, "check", "--data")
	o := y.must(exitDamaged, "check")
	for _, p := range y.points {
		if strings.Contains(o.out, p.ID) {
			y.must(exitDone, "point", "give-up", "web1@"+p.ID, "--yes").says(t, "gave up")
		}
	}
	y.must(exitDone, "check").says(t, "no faults")
}
