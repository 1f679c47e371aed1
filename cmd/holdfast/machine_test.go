package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

func TestAProtectedMachineIsBackedUpByItsNameAlone(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.must(exitNotFound, "backup", "web1", "--min-free=none").says(t, "is not protected")
	y.must(exitNotFound, "backup", "wbe1", "--min-free=none").says(t, "did you mean web1?")
	o := y.must(exitDone, "protect", "web1", "--disk", "vda="+y.path("vda.img"), "--disk", "vdb="+y.path("vdb.img"), "--exclude", "vdb")
	for _, text := range []string{"machine web1 is protected: 2 images", "crash, otherwise fail (the machine is off)", "left out: disk vdb"} {
		o.says(t, text)
	}
	var made api.Backup
	if err := json.Unmarshal([]byte(y.must(exitDone, "backup", "web1", "--min-free=none", "--json").out), &made); err != nil {
		t.Fatal(err)
	}
	if p := made.Point; p.Parent != y.points[1].ID || len(p.Disks) != 1 || len(p.LeftOut) != 1 || p.VM == nil || p.VM.Kind != "images" || made.Outcome != "completed" {
		t.Errorf("made %+v", made)
	}
	var machines []api.Machine
	if err := json.Unmarshal([]byte(y.must(exitDone, "machines", "--json").out), &machines); err != nil {
		t.Fatal(err)
	}
	if len(machines) != 1 || !machines[0].Protected || machines[0].Points != 3 || machines[0].State != "off" || len(machines[0].Protection.Images) != 2 {
		t.Errorf("machines %+v", machines)
	}
	y.must(exitDone, "machine", "show", "web1").says(t, y.path("vda.img"))
	y.must(exitDone, "machines").says(t, "images")
}

func TestARenamedMachineIsFoundWithAllItsPoints(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.must(exitDone, "machine", "rename", "web1", "web-old").says(t, "is called web-old now")
	y.must(exitNotFound, "machine", "rename", "web1", "x")
	if o := y.must(exitDone, "points", "web-old", "--json"); strings.Count(o.out, `"seq"`) != 2 {
		t.Errorf("points of web-old: %s", o.out)
	}
	y.must(exitDone, "backup", "web-old", "--disk", "vda="+y.path("vda.img"), "--min-free=none")
	var newest api.Point
	if err := json.Unmarshal([]byte(y.must(exitDone, "point", "show", "web-old@latest", "--json").out), &newest); err != nil || newest.Seq != 3 {
		t.Errorf("the latest is number %d, %v", newest.Seq, err)
	}
	y.backup() // a new web1
	y.must(exitDone, "point", "show", "web1@latest").says(t, "number 1")
	y.must(exitFailed, "machine", "rename", "web1", "web-old").says(t, "exists already")
}

func TestUnprotectKeepsThePointsUntilToldTwice(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.must(exitDone, "protect", "web1", "--disk", "vda="+y.path("vda.img"))
	y.must(exitDone, "unprotect", "web1").says(t, "not protected any more")
	if len(y.list()) != 2 {
		t.Error("the points are gone")
	}
	y.must(exitNotFound, "unprotect", "web1")
	y.must(exitUsage, "unprotect", "web1", "--delete-points").says(t, "--yes")
	y.must(exitDone, "unprotect", "web1", "--delete-points", "--yes").says(t, "2 points moved to the trash")
	if len(y.list()) != 0 {
		t.Error("points are listed still")
	}
}

func TestAHeldMachineIsRefusedWithTheWayOut(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.must(exitDone, "protect", "web1", "--disk", "vda="+y.path("vda.img"))
	y.must(exitDone, "hold", "web1", "--for", "1h", "--drain").says(t, "nothing of ours runs now")
	y.must(exitRefused, "backup", "web1", "--min-free=none").says(t, "hold MACHINE --release")
	y.must(exitRefused, "backup", "web1", "--disk", "vda="+y.path("vda.img"), "--min-free=none")
	y.must(exitDone, "machines", "--no-state").says(t, "Z")
	y.must(exitDone, "hold", "web1", "--release", "--json").says(t, `"released": 1`)
	y.must(exitDone, "backup", "web1", "--min-free=none")
}

func TestWhatCannotBeProtectedIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.must(exitNotFound, "protect", "x", "--disk", "vda="+y.path("none.img"))
	y.must(exitNotFound, "protect", "x", "--qmp", y.path("none"))
	if err := os.WriteFile(y.path("q.img"), append([]byte("QFI\xfb\x00\x00\x00\x03"), make([]byte, 4096)...), 0o600); err != nil {
		t.Fatal(err)
	}
	y.must(exitFailed, "protect", "x", "--disk", "vda="+y.path("q.img")).says(t, "format=qcow2")
	if o := y.must(exitDone, "machines", "--no-state", "--json"); strings.Contains(o.out, `"x"`) {
		t.Errorf("it was noted: %s", o.out)
	}
}
