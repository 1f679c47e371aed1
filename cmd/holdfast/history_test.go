package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

func TestFilesAreFollowedAndComparedOverPoints(t *testing.T) {
	t.Parallel()
	y := guestYard(t)
	first := y.latest(t)
	y.write("changed", []byte("one\nmore\n"))
	script := `PATH=$PATH:/usr/sbin:/sbin; cd $1; printf 'rm /etc/a.conf\nwrite changed /etc/a.conf\nln /home/ann/notes /etc/notes\nunlink /home/ann/notes\nsif /etc/sub/b.conf mode 0100640\n' | debugfs -w -f - p2
		dd if=p2 of=vda bs=1M seek=9 conv=notrunc status=none`
	if out, err := exec.Command("sh", "-ec", script, "sh", y.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	y.must(exitDone, "backup", "web1", "--quiet", "--min-free=none", "--disk", "vda="+y.path("vda")+",format=raw", "--disk", "vdb="+y.path("vdb")+",format=raw")

	o := y.must(exitDone, "history", "web1:/etc/a.conf")
	if lines := strings.Split(strings.TrimSpace(o.out), "\n"); len(lines) != 3 || !strings.Contains(lines[2], "content") || !strings.Contains(o.err, "holdfast cp web1@") {
		t.Errorf("%s%s", o.out, o.err)
	}
	y.must(exitDone, "history", "web1:/home/ann/notes").says(t, "removed")
	y.must(exitDone, "history", "web1:/home/ann/abs", "--no-checksum").says(t, "by a link, it is /etc/a.conf")
	y.must(exitDone, "history", "web1:vdb:/log/syslog", "--since", "1h").says(t, "file")
	var h api.FileHistory
	if err := json.Unmarshal([]byte(y.must(exitDone, "history", "web1@all:/home/ann/big", "--json").out), &h); err != nil || h.Points != 2 || len(h.Versions) != 1 ||
		len(h.Versions[0].SHA256) != 64 || h.Versions[0].Size != 320_000 || h.Cost.DiskBlocks == 0 || h.Warnings == nil {
		t.Errorf("%+v, %v", h, err)
	}
	y.must(exitWarnings, "history", "web1:/gone/x").says(t, "unreadable")
	last := h.Versions[0].Last.Time.Format(time.RFC3339) // as it is shown
	if err := json.Unmarshal([]byte(y.must(exitDone, "history", "web1:/home/ann/big", "--until", last, "--json").out), &h); err != nil || h.Points != 2 {
		t.Errorf("until the last point there are %d points, %v", h.Points, err)
	}
	y.must(exitNotFound, "history", "web9:/x")
	y.must(exitNotFound, "history", "web1:/home/ann/never").says(t, "at none of 2 points")
	y.must(exitNotFound, "history", "web1:/x", "--until", "2000-01-01")
	y.must(exitUsage, "history", "web1")
	y.must(exitUsage, "history", "web1@latest:/x")
	y.must(exitUsage, "history", "web1:/x", "--since", "yesterday")

	o = y.must(exitDone, "diff", first+":/etc", "web1@latest")
	if want := "changed     /etc/a.conf  (content 4 B -> 9 B, modified)\nadded       /etc/notes  (6 B)\nmetadata    /etc/sub/b.conf  (mode 0600 -> 0640)\n"; o.out != want {
		t.Errorf("%s, it should be\n%s", o.out, want)
	}
	o = y.must(exitWarnings, "diff", "--content", first+":/", "web1@latest:/") // /gone
	o.says(t, "moved       /home/ann/notes -> /etc/notes")
	o.says(t, "@@ -1 +1,2 @@\n one\n+more\n")
	var d struct {
		Files []api.FileDiff
		Total api.FilesDiff
	}
	if err := json.Unmarshal([]byte(y.must(exitDone, "diff", "--json", first+":vda2:/", "web1@latest").out), &d); err != nil || len(d.Files) != 3 || d.Total.Moved != 1 || d.Total.A == "" {
		t.Errorf("%+v, %v", d, err)
	}
	y.must(exitDone, "diff", "web1@latest:vdb:/", first+":vdb:/").says(t, "no file differs")
	y.must(exitDone, "diff", "web1@latest:/etc", "web1@latest:/home").says(t, "removed     /etc/fstab")
	y.must(exitNotFound, "diff", "web1@latest:/none", "web1@latest:/none").says(t, "/none is not in web1@2")
	y.must(exitNotFound, "diff", first+":/none", "web1@latest").says(t, "/none is neither in web1@2")
	o = y.must(exitNotFound, "diff", first+":/etc", "web1@latest:/ect")
	if o.says(t, "did you mean /etc?"); o.out != "" {
		t.Errorf("told: %s", o.out)
	}
	for _, words := range [][]string{{"diff", first + ":/home/ann/notes", "web1@latest"}, {"diff", first + ":/home/ann/notes", "web1@latest", "--json"}} {
		o = y.must(exitDone, words...)
		if o.says(t, "note: /home/ann/notes is not in web1@latest, so that all of it in "+first+" is told as removed"); strings.Count(o.err, "note:") != 1 {
			t.Errorf("%s", o.err)
		}
	}
	if err := json.Unmarshal([]byte(o.out), &d); err != nil || d.Total.Missing != "b" || d.Total.Removed != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	y.must(exitUsage, "diff", "web1@latest:/etc", "web1@latest:/etc", "--disk", "vda")
	y.must(exitUsage, "diff", "web1@latest", "web1@latest", "--content")
	for typed, want := range map[string]string{"web": "web1:", "web1:/ho": "web1:/home/", "web1:vdb:/l": "web1:vdb:/lib/ web1:vdb:/log/ web1:vdb:/lost+found/"} {
		if got := strings.Join(strings.Fields(y.must(exitDone, completeWord, "history", typed).out), " "); got != want {
			t.Errorf("%s is completed to %q", typed, got)
		}
	}
	if got := strings.TrimSpace(y.must(exitDone, completeWord, "diff", "web1@latest:/ho").out); got != "web1@latest:/home/" {
		t.Errorf("completed to %q", got)
	}
}

// latest names the newest point of web1 by its id.
func (y *yard) latest(t *testing.T) string {
	t.Helper()
	var points []api.Point
	if err := json.Unmarshal([]byte(y.must(exitDone, "points", "web1", "--json").out), &points); err != nil || len(points) == 0 {
		t.Fatal(err)
	}
	return "web1@" + points[len(points)-1].ID
}
