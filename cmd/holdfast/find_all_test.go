package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// timesYard is a vault with four points of a guest whose files changed meanwhile.
func timesYard(t *testing.T) *yard {
	t.Helper()
	needs.Tools(t, "mke2fs")
	y := &yard{shell: newShell(t), dir: t.TempDir()}
	y.env["HOLDFAST_VAULT"] = y.path("vault")
	y.must(exitDone, "vault", "create", y.path("vault"))
	put := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(y.path(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		y.write(name, []byte(text))
	}
	point := func() {
		t.Helper()
		script := `set -e; PATH=$PATH:/usr/sbin:/sbin; cd $1; rm -f vda; mke2fs -q -t ext4 -d root vda 8M`
		if out, err := exec.Command("sh", "-c", script, "sh", y.dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		y.must(exitDone, "backup", "web1", "--quiet", "--min-free=none", "--disk", "vda="+y.path("vda")+",format=raw")
	}
	put("root/etc/fstab", "")
	put("root/home/ann/report-1.xlsx", "one")
	put("root/home/ann/b\xff.txt", "bytes")
	point()
	put("root/home/ann/report-1.xlsx", "changed")
	put("root/home/ann/report-2.xlsx", "two")
	point()
	if err := os.Rename(y.path("root/home/ann/report-1.xlsx"), y.path("root/home/ann/final.xlsx")); err != nil {
		t.Fatal(err)
	}
	point()
	if err := os.RemoveAll(y.path("root/home/ann/report-2.xlsx")); err != nil {
		t.Fatal(err)
	}
	point()
	return y
}

// hitsOf reads what find --json printed.
func hitsOf(t *testing.T, out string) (hits []api.SearchHit, searched api.Searched) {
	t.Helper()
	for line := range strings.Lines(out) {
		var end struct{ Searched *api.Searched }
		if err := json.Unmarshal([]byte(line), &end); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if end.Searched != nil {
			searched = *end.Searched
			continue
		}
		var h api.SearchHit
		if err := json.Unmarshal([]byte(line), &h); err != nil {
			t.Fatal(err)
		}
		hits = append(hits, h)
	}
	return hits, searched
}

func TestADeletedFileIsFoundWithoutKnowingWhichPointHasIt(t *testing.T) {
	t.Parallel()
	y := timesYard(t)
	o := y.must(exitWarnings, "find", "web1@all", "--name", "report*.xlsx") // four are more than few
	if o.out != "" || !strings.Contains(o.err, "4 of 4 points of web1 have no catalogue") || !strings.Contains(o.err, "holdfast catalogue build web1") {
		t.Errorf("nothing is listed, and find says %q, %q", o.out, o.err)
	}
	hits, searched := hitsOf(t, y.must(exitWarnings, "find", "web1@all", "--build", "none", "--json").out)
	if len(hits) != 0 || len(searched.Missing) != 4 || searched.Points != 0 {
		t.Errorf("%v, %+v", hits, searched)
	}
	y.must(exitDone, "catalogue", "build", "web1").says(t, "at 4 points")
	y.must(exitDone, "find", "web1@all", "--name", "report*.xlsx", "--deleted").says(t, "/home/ann/report-1.xlsx")
	hits, searched = hitsOf(t, y.must(exitDone, "find", "web1@all:/home", "--name", "*.xlsx", "--json").out)
	got := map[string]int{}
	for _, h := range hits {
		got[h.Path] = len(h.Versions)
		if h.Deleted != strings.Contains(h.Path, "report") {
			t.Errorf("%s is deleted: %v", h.Path, h.Deleted)
		}
	}
	if len(got) != 3 || got["/home/ann/report-1.xlsx"] != 2 || got["/home/ann/report-2.xlsx"] != 1 || got["/home/ann/final.xlsx"] != 1 || searched.Points != 4 {
		t.Errorf("%v, %+v", got, searched)
	}
	first, last := hits[1].Versions[0].First, hits[1].Versions[1].Last
	points := y.list()
	if hits[1].Path != "/home/ann/report-1.xlsx" || first.ID != points[0].ID || last.ID != points[1].ID {
		t.Errorf("%+v", hits[1])
	}
	if o := y.must(exitDone, "cat", "web1@"+last.ID+":/home/ann/report-1.xlsx"); o.out != "changed" {
		t.Errorf("the last version is %q", o.out)
	}
	if o := y.must(exitDone, "find", "web1@all", "--name", "b*", "-0"); o.out != "/home/ann/b\xff.txt\x00" {
		t.Errorf("%q", o.out)
	}
	hits, _ = hitsOf(t, y.must(exitDone, "find", "web1@all", "--name", "b*", "--json").out)
	if len(hits) != 1 || hits[0].PathEscaped != "/home/ann/b%FF.txt" || hits[0].Versions[0].Points != 4 {
		t.Errorf("%+v", hits)
	}
	y.must(exitUsage, "find", "web1@latest", "--deleted").says(t, "web1@all")
	y.must(exitUsage, "find", "web1@all", "--build", "some")
	y.must(exitUsage, "find", "web1@all", "--type", "x")
	y.must(exitNotFound, "find", "web9@all")
	y.must(exitNotFound, "find", "web1@all:vdx:/home").says(t, "lists files of a volume vdx; they list the guest's root")
	y.must(exitNotFound, "find", "web1@all:vda:/home").says(t, "search web1@all:/")
	y.must(exitNotFound, "history", "web1:vdx:/home").says(t, "this point has no volume vdx; it has vda")
}

func TestCataloguesAreShownMadeAgainAndDropped(t *testing.T) {
	t.Parallel()
	y := timesYard(t)
	points := y.list()
	y.must(exitDone, "catalogue", "build", "web1@"+points[1].ID).says(t, "at 1 point:")
	hits, searched := hitsOf(t, y.must(exitDone, "find", "web1@all", "--name", "report-2*", "--json").out) // three are few
	if len(hits) != 1 || len(searched.Missing) != 0 || !hits[0].Deleted {
		t.Errorf("%+v, %+v", hits, searched)
	}
	var all []api.Catalogue
	y.decode(&all, "catalogue", "show", "web1", "--json")
	whole := 0
	for i, c := range all {
		if !c.There || c.Names < 6 || c.Size == 0 || c.Point != points[i].ID || c.Error != "" {
			t.Errorf("%+v", c)
		}
		if c.Whole {
			whole++
		}
	}
	if len(all) != 4 || whole == 0 || whole == 4 {
		t.Errorf("%d of %d are whole", whole, len(all))
	}
	y.must(exitDone, "catalogue", "show", "web1").says(t, points[3].ID)
	y.must(exitDone, "check", "--data").says(t, "no faults")
	files, err := filepath.Glob(y.path("vault/catalogues/*/*"))
	if err != nil || len(files) != 4 {
		t.Fatal(files, err)
	}
	if err := os.Truncate(files[0], 300); err != nil {
		t.Fatal(err)
	}
	y.must(exitWarnings, "check").says(t, "harms no recovery point")
	y.must(exitWarnings, "find", "web1@all", "--name", "report-1*", "--build", "none").says(t, "`holdfast catalogue build web1` makes it anew")
	y.must(exitDone, "find", "web1@all", "--name", "report-1*").says(t, "it is made again")
	y.must(exitDone, "check").says(t, "no faults")
	y.must(exitDone, "catalogue", "build", "web1", "--again").says(t, "at 4 points")
	y.must(exitDone, "check", "--data").says(t, "no faults")
	for words, want := range map[string]string{"find web1@a": "web1@all", "find web1@all:/ho": "web1@all:/home/", "ls web1@a": ""} {
		if o := y.must(exitDone, append([]string{completeWord}, strings.Fields(words)...)...); strings.TrimSpace(o.out) != want {
			t.Errorf("%q is completed to %q", words, o.out)
		}
	}
	y.must(exitDone, "catalogue", "drop", "web1").says(t, "4 catalogues removed")
	y.must(exitDone, "catalogue", "show", "web1").says(t, "none")
	var run api.CatalogueRun
	y.decode(&run, "catalogue", "build", "--json")
	if len(run.Built) != 4 || len(run.Failed) != 0 || !run.Built[0].Whole || run.Built[1].Whole || run.Built[1].New > 5 {
		t.Errorf("%+v", run)
	}
}

// TestNamesInAnEncryptedVolumeAreNotListedAndThatIsSaid has cryptsetup encrypt a root.
func TestNamesInAnEncryptedVolumeAreNotListedAndThatIsSaid(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "mke2fs", "cryptsetup")
	y := timesYard(t)
	y.write("key", []byte("correct horse"))
	script := `set -e; PATH=$PATH:/usr/sbin:/sbin; cd $1; truncate -s +32M vda
		cryptsetup reencrypt --encrypt --type luks2 --batch-mode --disable-locks --force-offline-reencrypt --reduce-device-size 32M \
			--key-file key --pbkdf-force-iterations 4 --pbkdf-memory 64 --pbkdf-parallel 1 vda`
	if out, err := exec.Command("sh", "-c", script, "sh", y.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	y.must(exitDone, "backup", "web2", "--quiet", "--min-free=none", "--disk", "vda="+y.path("vda")+",format=raw")
	o := y.must(exitWarnings, "find", "web2@all")
	if o.out != "" || !strings.Contains(o.err, "encrypted (LUKS 2)") {
		t.Errorf("%q, %q", o.out, o.err)
	}
	y.must(exitUsage, "find", "web2@all", "--guest-key-file", y.path("key")).says(t, "are not kept")
}
