package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/extract"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// oddYard is a yard whose guest has names that a terminal obeys, and that are no UTF-8.
func oddYard(t *testing.T) (*yard, []string) {
	t.Helper()
	needs.Tools(t, "mke2fs")
	y := &yard{shell: newShell(t), dir: t.TempDir()}
	y.env["HOLDFAST_VAULT"] = y.path("vault")
	y.must(exitDone, "vault", "create", y.path("vault"))
	names := []string{"bad\xff\xfe", "new\nline", "red\x1b[31m", "tab\there"}
	if err := os.Mkdir(y.path("root"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		y.write("root/"+n, []byte("in "+n))
	}
	y.write("vda", make([]byte, 1<<20))
	if out, err := exec.Command("mke2fs", "-q", "-t", "ext4", "-d", y.path("root"), y.path("vda"), "1M").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	y.must(exitDone, "backup", "web1", "--quiet", "--min-free=none", "--disk", "vda="+y.path("vda")+",format=raw")
	return y, names
}

func TestNamesOfAGuestCanBeGivenBackToIt(t *testing.T) {
	t.Parallel()
	y, names := oddYard(t)
	found := strings.Split(strings.TrimSuffix(y.must(exitDone, "find", "web1@latest:vda:/", "--type", "f", "--print0").out, "\x00"), "\x00")
	if len(found) != len(names) {
		t.Fatalf("%q are found", found)
	}
	for _, p := range found {
		if o := y.must(exitDone, "cat", "web1@latest:vda:"+p); o.out != "in "+strings.TrimPrefix(p, "/") {
			t.Errorf("%q holds %q", p, o.out)
		}
	}
	if o := y.must(exitDone, "ls", "web1@latest:vda:/"); o.out != strings.Join([]string{names[0], "lost+found", names[1], names[2], names[3]}, "\n")+"\n" {
		t.Errorf("%q are listed", o.out)
	}
}

func TestATerminalIsNotToldWhatAGuestWrote(t *testing.T) {
	t.Parallel()
	y, _ := oddYard(t)
	for _, words := range [][]string{{"find", "web1@latest:vda:/"}, {"ls", "web1@latest:vda:/"}, {"ls", "-l", "web1@latest:vda:/"}, {"cat", "web1@latest:vda:/red\x1b[31m/x"}} {
		var out, err bytes.Buffer
		k := &console{work: 10, out: &out, err: &err, outTerm: true, getenv: func(n string) string { return y.env[n] }, local: time.UTC}
		run(t.Context(), k, words)
		if s := out.String() + err.String(); strings.Contains(s, "\x1b") || !strings.Contains(s, "red") {
			t.Errorf("%q: %q", words, s)
		}
	}
}

// fullDisk takes so many bytes.
type fullDisk int

func (d *fullDisk) Write(p []byte) (int, error) {
	if *d -= fullDisk(len(p)); *d < 0 {
		return 0, syscall.ENOSPC
	}
	return len(p), nil
}

func TestAListThatCouldNotBeWrittenWholeIsNoSuccess(t *testing.T) {
	t.Parallel()
	y, _ := oddYard(t)
	for _, words := range []string{"find web1@latest:vda:/", "ls web1@latest:vda:/", "ls -l web1@latest:vda:/", "points", "volumes web1@latest", "cat web1@latest:vda:/bad\xff\xfe", "tar --quiet web1@latest:vda:/"} {
		var err bytes.Buffer
		room := fullDisk(3)
		k := &console{work: 10, out: &room, err: &err, getenv: func(n string) string { return y.env[n] }, local: time.UTC}
		if code := run(t.Context(), k, strings.Fields(words)); code != exitFailed || strings.Count(err.String(), syscall.ENOSPC.Error()) != 1 || !strings.Contains(err.String(), "make room") {
			t.Errorf("%s: exit code %d, %s", words, code, err.String())
		}
	}
}

func TestWhatIsNotThereIsToldByName(t *testing.T) {
	t.Parallel()
	y, _ := oddYard(t)
	o := y.must(exitNotFound, "cat", "web1@latest:vda:/lost+found/no/file")
	o.says(t, `there is no "no" in /lost+found`)
	o.says(t, "`holdfast ls`")
	y.must(exitFailed, "cat", "web1@latest:vda:/lost+found").says(t, "hint: `holdfast ls`")
}

// TestTheHintOfDamageIsOneOfTheCommandThatMetIt: --skip-damaged is for restores alone.
func TestTheHintOfDamageIsOneOfTheCommandThatMetIt(t *testing.T) {
	t.Parallel()
	var err bytes.Buffer
	k := &console{err: &err}
	if code := k.report(reportExtract(k, extract.Result{Damaged: true})); code != exitDamaged || strings.Contains(err.String(), "skip-damaged") || !strings.Contains(err.String(), "`holdfast tar`") {
		t.Errorf("exit code %d, %s", code, err.String())
	}
}
