package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// recipe is the script of the README that copies a live vault.
func recipe(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(b), "**Copying a live vault.**")
	_, rest, fence := strings.Cut(rest, "```sh\n")
	script, _, end := strings.Cut(rest, "```")
	if !found || !fence || !end {
		t.Fatal("the README has no script that copies a vault")
	}
	return script
}

// TestACopyMadeAsTheReadmeSaysIsWholeWhateverRunsMeanwhile copies a vault again and
// again while backups go on.
func TestACopyMadeAsTheReadmeSaysIsWholeWhateverRunsMeanwhile(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "rsync", "bash")
	v := newVault(t)
	rng := newRand(t)
	image := noisyImage(t, rng.Uint64(), 24)
	v.backup("web1", image)
	before := hashFile(t, image)
	first := v.points()[0].ID
	copied := vault{t, filepath.Join(t.TempDir(), "copy")}
	if err := os.Mkdir(copied.path, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		change(t, image, rng, 300)
		writer := v.start("backup", "web1", "--disk", "vda="+image)
		cmd := v.command()
		cmd.Path, _ = exec.LookPath("bash")
		cmd.Args = []string{"bash", "-e", "-c", recipe(t)}
		cmd.Env = append(cmd.Env, "VAULT="+v.path, "COPY="+copied.path, "LIST="+filepath.Join(t.TempDir(), "list"),
			"PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
		does(t, 0, cmd)
		if o := copied.must(0, "check", "--data"); !strings.Contains(o.err, "is a copy of "+v.path) {
			t.Errorf("the check of the copy says: %s", o.err)
		}
		writer.expect(0)
	}
	if copied.restored("web1", first) != before {
		t.Error("a restore from the copy differs")
	}
	if o := copied.must(8, "backup", "web1", "--disk", "vda="+image); !strings.Contains(o.err, "vault takeover") {
		t.Errorf("no way out is named: %s", o.err)
	}
	copied.must(0, "vault", "takeover", "--yes")
	for _, v := range []vault{copied, v} {
		v.backup("web1", image)
		v.must(0, "check", "--data")
	}
	if a, b := v.must(0, "vault", "info").out, copied.must(0, "vault", "info").out; idOf(a) == idOf(b) || idOf(a) == "" {
		t.Errorf("the two are not told apart:\n%s\n%s", a, b)
	}
}

// idOf finds the id in what vault info prints.
func idOf(info string) string {
	for line := range strings.Lines(info) {
		if words := strings.Fields(line); len(words) == 2 && words[0] == "id" {
			return words[1]
		}
	}
	return ""
}

func TestAHoldIsSeenAndReleased(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.must(2, "vault", "hold-sweep")
	v.must(2, "vault", "hold-sweep", "--for", "721h")
	v.must(0, "vault", "hold-sweep", "--for", "2h")
	if o := v.must(0, "vault", "info", "--json"); !strings.Contains(o.out, `"held_until"`) {
		t.Errorf("vault info does not tell of the hold: %s", o.out)
	}
	v.backup("web1", noisyImage(t, 16, 1))
	if o := v.must(8, "sweep"); !strings.Contains(o.err, "hold-sweep --release") {
		t.Errorf("the sweep says: %s", o.err)
	}
	v.must(0, "sweep", "--dry-run")
	v.must(0, "vault", "hold-sweep", "--release")
	v.must(0, "sweep")
	if o := v.must(0, "vault", "info", "--json"); strings.Contains(o.out, `"held_until"`) {
		t.Errorf("vault info still tells of the hold: %s", o.out)
	}
}
