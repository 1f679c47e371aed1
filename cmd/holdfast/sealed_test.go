package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// sealedYard is a folder with a passphrase file, and a sealed vault that it opens.
func sealedYard(t *testing.T, flags ...string) *yard {
	t.Helper()
	y := &yard{shell: newShell(t), dir: t.TempDir()}
	y.env["HOLDFAST_VAULT"] = y.path("vault")
	y.write("pass", []byte("open sesame\nand more\n"))
	y.write("wrong", []byte("open barley\n"))
	y.write("vda.img", bytes.Repeat([]byte("a secret of the guest; "), 20_000))
	words := append([]string{"vault", "create", y.path("vault"), "--sealed", "--passphrase-file", y.path("pass"), "--sheet", y.path("sheet")}, flags...)
	y.must(exitDone, words...).says(t, "sealed")
	return y
}

func (y *yard) backUpSealed() {
	y.t.Helper()
	y.must(exitDone, "backup", "web1", "--disk", "vda="+y.path("vda.img"), "--min-free=none", "--quiet", "--passphrase-file", y.path("pass"))
}

var identityLine = regexp.MustCompile(`AGE-SECRET-KEY-1[0-9A-Z]+`)

// identity takes the recovery key off the sheet, into a file.
func (y *yard) identity() string {
	y.t.Helper()
	sheet, err := os.ReadFile(y.path("sheet"))
	if err != nil {
		y.t.Fatal(err)
	}
	key := identityLine.Find(sheet)
	if key == nil {
		y.t.Fatalf("no key on the sheet:\n%s", sheet)
	}
	y.write("recovery.key", append(key, '\n'))
	return y.path("recovery.key")
}

func TestASealedVaultIsUsedByPassphraseAndByTheKeyOfItsSheet(t *testing.T) {
	t.Parallel()
	y := sealedYard(t)
	y.backUpSealed()
	if st, err := os.Stat(y.path("sheet")); err != nil || st.Mode() != 0o600 {
		t.Errorf("the sheet: %v, %v", st, err)
	}
	key := y.identity()
	y.must(exitDone, "points", "--identity", key).says(t, "web1")
	y.must(exitDone, "points", "--identity", y.path("sheet")).says(t, "web1")
	y.must(exitFailed, "points", "--identity", y.path("vda.img")).says(t, "no line that is a key")
	y.must(exitNotFound, "vault", "key", "remove", "1a2b3c4d", "--identity", key).says(t, "`holdfast vault key list`")
	if sheet, _ := os.ReadFile(y.path("sheet")); !strings.Contains(string(sheet), y.path("vault")+" on ") {
		t.Errorf("the sheet does not say where the vault is:\n%s", sheet)
	}
	y.must(exitDone, "restore", "web1@latest", "--to", y.path("back.raw"), "--identity", key, "--quiet")
	back, _ := os.ReadFile(y.path("back.raw"))
	if want, _ := os.ReadFile(y.path("vda.img")); !bytes.Equal(back, want) {
		t.Error("what was restored differs")
	}
	y.must(exitDone, "check", "--data", "--identity", key, "--quiet")
	y.must(exitDone, "vault", "info", "--identity", key).says(t, "encrypted     yes")
	readme, _ := os.ReadFile(y.path("vault/README.txt"))
	if !strings.Contains(string(readme), "is encrypted") || strings.Contains(string(readme), "not encrypted") {
		t.Errorf("README.txt says\n%s", readme)
	}
}

func TestAnotherVaultInThePlaceOfASealedOneIsRefusedUntilItIsTakenOver(t *testing.T) {
	t.Parallel()
	y := sealedYard(t)
	if err := os.Rename(y.path("vault"), y.path("carried away")); err != nil {
		t.Fatal(err)
	}
	other := &yard{shell: newShell(t), dir: y.dir} // of somebody else
	other.must(exitDone, "vault", "create", y.path("vault"), "--sealed", "--passphrase-file", y.path("pass"), "--sheet", y.path("sheet of the other"))
	backup := []string{"backup", "web1", "--disk", "vda=" + y.path("vda.img"), "--min-free=none", "--quiet", "--passphrase-file", y.path("pass")}
	y.must(exitRefused, backup...).says(t, "not the vault that this host wrote there before")
	y.must(exitDone, "points", "--passphrase-file", y.path("pass")).says(t, "warning")
	y.must(exitDone, "vault", "takeover", "--yes", "--passphrase-file", y.path("pass")).says(t, "becomes known")
	y.must(exitDone, backup...)
}

func TestASealedVaultTakesItsPassphraseFromWhereTheHostKeepsIt(t *testing.T) {
	t.Parallel()
	y := sealedYard(t)
	y.must(exitRefused, "points").says(t, "--passphrase-file")
	y.env["HOLDFAST_PASSPHRASE_FILE"] = y.path("pass")
	y.must(exitDone, "points")
	y.env["HOLDFAST_PASSPHRASE_FILE"] = y.path("none")
	y.must(exitNotFound, "points").says(t, y.path("none"))
	y.env["HOLDFAST_PASSPHRASE_FILE"] = ""
	y.env["HOLDFAST_IDENTITY"] = y.path("none") + ":" + y.identity()
	y.must(exitNotFound, "points")
	y.env["HOLDFAST_IDENTITY"] = y.identity()
	y.must(exitDone, "points")
	y.env["HOLDFAST_IDENTITY"] = ""
	y.env["CREDENTIALS_DIRECTORY"] = y.dir
	y.must(exitRefused, "points")
	y.write(credential, []byte("open sesame"))
	y.must(exitDone, "points")
	y.must(exitRefused, "points", "--passphrase-file", y.path("wrong")).says(t, "recovery sheet")
	// A vault in the clear in the place of a sealed one is no vault to write secrets to.
	y.must(exitDone, "vault", "create", y.path("plain")).says(t, "not encrypted")
	y.must(exitRefused, "points", "--vault", y.path("plain"))
	y.write("empty", nil)
	y.must(exitFailed, "points", "--passphrase-file", y.path("empty")).says(t, "empty")
}

func TestSealingIsAskedForWithoutContradictions(t *testing.T) {
	t.Parallel()
	y := sealedYard(t)
	for line, says := range map[string]string{
		"vault create /x --recipient age1x":                        "add --sealed",
		"vault create /x --passphrase-file /pass":                  "add --sealed",
		"vault create /x --sealed":                                 "no terminal",
		"vault create /x --sealed --json --passphrase-file /pass":  "--sheet",
		"vault create /x --sealed --identity /pass":                "--recipient",
		"vault create /x --sealed --like /y":                       "leave --sealed out",
		"vault create /x --sealed --no-recovery-key --sheet /s":    "no recovery key",
		"vault create /x --sealed --recipients-file /nothing":      "--recipients-file",
		"vault key add --recipient age1x --recovery":               "one key at a time",
		"vault key add --sheet /x":                                 "--recovery",
		"vault key remove":                                         "KEY is missing",
		"vault copy":                                               "--to VAULT",
		"vault copy --to /x a@":                                    "names no recovery point",
		"vault copy --to /x --to-unsealed --to-passphrase-file /y": "which is it",
		"points --passphrase-file=":                                "--passphrase-file is empty",
	} {
		y.must(exitUsage, strings.Fields(line)...).says(t, says)
	}
	y.must(exitFailed, "vault", "create", y.path("x"), "--sealed", "--recipient", "age1x", "--no-recovery-key").says(t, "recipient")
	y.must(exitFailed, "vault", "create", y.path("x"), "--sealed", "--passphrase-file", y.path("pass"), "--sheet", y.path("sheet")).says(t, "sheet")
	y.must(exitFailed, "vault", "create", y.path("vault"), "--sealed", "--passphrase-file", y.path("pass"), "--sheet", y.path("sheet2"))
	for _, name := range []string{"x", "sheet2"} {
		if _, err := os.Stat(y.path(name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was left behind: %v", name, err)
		}
	}
}

func TestKeysAreAddedRemovedAndChanged(t *testing.T) {
	t.Parallel()
	y := sealedYard(t)
	y.backUpSealed()
	y.env["HOLDFAST_IDENTITY"] = y.identity()
	keys := func() (list []api.Key) {
		t.Helper()
		if err := json.Unmarshal([]byte(y.must(exitDone, "vault", "key", "list", "--json").out), &list); err != nil {
			t.Fatal(err)
		}
		return list
	}
	first := keys()
	if len(first) != 2 || first[0].Kind != "passphrase" || first[1].Kind != "age" || first[1].Note != "recovery key" {
		t.Fatalf("keys %+v", first)
	}
	y.write("new", []byte("a new passphrase"))
	y.must(exitDone, "vault", "key", "passwd", "--new-passphrase-file", y.path("new")).says(t, "removed key "+first[0].ID)
	y.must(exitRefused, "points", "--passphrase-file", y.path("pass"))
	y.must(exitDone, "points", "--passphrase-file", y.path("new")).says(t, "web1")
	y.must(exitDone, "vault", "key", "add", "--new-passphrase-file", y.path("wrong"), "--note", "of a colleague")
	y.must(exitUsage, "vault", "key", "passwd", "--new-passphrase-file", y.path("pass")).says(t, "2 passphrases")
	y.must(exitNotFound, "vault", "key", "passwd", "--key", "00000000", "--new-passphrase-file", y.path("pass"))
	y.must(exitDone, "vault", "key", "list").says(t, "of a colleague")
	y.must(exitNotFound, "vault", "key", "remove", "00000000")
	for _, k := range keys()[1:] {
		y.must(exitDone, "vault", "key", "remove", k.ID).says(t, "older copies of VAULT")
	}
	last := keys()
	if len(last) != 1 {
		t.Fatalf("keys %+v", last)
	}
	y.must(exitFailed, "vault", "key", "remove", last[0].ID).says(t, "last key")
	y.must(exitDone, "vault", "key", "add", "--recovery", "--sheet", y.path("sheet3")).says(t, "sheet3")
	y.must(exitDone, "check", "--data", "--quiet")
}

func TestAPersonIsAskedTwiceForANewPassphraseAndOnceForAnOldOne(t *testing.T) {
	t.Parallel()
	y := &yard{shell: newShell(t), dir: t.TempDir()}
	var answers, asked []string
	guarded := 0
	do := func(code int, words ...string) string {
		t.Helper()
		var out, err bytes.Buffer
		k := &console{work: 10, out: &out, err: &err, getenv: func(string) string { return "" }, local: time.UTC}
		k.ask = func(_ context.Context, prompt string) (string, error) {
			if guarded == 0 {
				t.Error("asked before the memory was kept from others")
			}
			asked = append(asked, prompt)
			a := answers[0]
			answers = answers[1:]
			return a, nil
		}
		k.guard = func() error { guarded++; return nil }
		if got := run(t.Context(), k, words); got != code {
			t.Errorf("%v: exit code %d, want %d: %s", words, got, code, err.String())
		}
		return out.String()
	}
	answers = []string{"one", "another"}
	do(exitFailed, "vault", "create", y.path("vault"), "--sealed")
	answers = []string{""}
	do(exitFailed, "vault", "create", y.path("vault"), "--sealed")
	answers = []string{"one", "one"}
	if out := do(exitDone, "vault", "create", y.path("vault"), "--sealed"); !identityLine.MatchString(out) || !strings.Contains(out, "nobody can help") {
		t.Errorf("the sheet is\n%s", out)
	}
	asked, answers = nil, []string{"one"}
	do(exitDone, "points", "--vault", y.path("vault"))
	answers = []string{"two"}
	do(exitRefused, "points", "--vault", y.path("vault"))
	if len(asked) != 2 {
		t.Errorf("asked %q", asked)
	}
	// Who completes a word is not asked.
	answers = nil
	do(exitDone, completeWord, "--vault", y.path("vault"), "point", "show", "w")
	// Nor is one who uses a vault that is not sealed.
	do(exitDone, "vault", "create", y.path("plain"))
	guarded = 0
	do(exitDone, "points", "--vault", y.path("plain"))
	if guarded != 0 {
		t.Error("a vault that is not sealed changes how the process runs")
	}
}

func TestPointsAreCopiedIntoAnotherVaultOnce(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.write("pass", []byte("open sesame"))
	seal := []string{"--sealed", "--passphrase-file", y.path("pass"), "--no-recovery-key"}
	y.must(exitDone, append([]string{"vault", "create", y.path("sealed")}, seal...)...)
	y.must(exitDone, "vault", "create", y.path("like"), "--like", y.path("vault"))
	y.must(exitDone, "vault", "create", y.path("small"), "--block-size", "16KiB")
	copyTo := func(code int, to string, more ...string) outcome {
		t.Helper()
		return y.must(code, append([]string{"vault", "copy", "--quiet", "--min-free=none", "--to", y.path(to)}, more...)...)
	}
	for to, key := range map[string][]string{"like": nil, "small": nil, "sealed": {"--to-passphrase-file", y.path("pass")}} {
		copyTo(exitDone, to, append([]string{"web1@" + y.points[0].ID}, key...)...).says(t, "copied 1 point ")
		copyTo(exitDone, to, key...).says(t, "copied 1 point ")
		var c api.Copy
		o := copyTo(exitDone, to, append(key, "--json")...)
		if err := json.Unmarshal([]byte(o.out), &c); err != nil || len(c.Copied) != 0 || c.Present != 2 {
			t.Errorf("again into %s: %+v, %v", to, c, err)
		}
		open := []string{"--vault", y.path(to)}
		if key != nil {
			open = append(open, "--passphrase-file", y.path("pass"))
		}
		for i, p := range y.points {
			name := to + p.ID
			y.must(exitDone, append(open, "restore", "web1@"+p.ID, "--disk", "vda", "--to", y.path(name), "--quiet")...)
			y.holds(name, y.vda[i])
		}
		y.must(exitDone, append(open, "check", "--data", "--quiet")...)
	}
	copyTo(exitFailed, "vault").says(t, "one vault")
	copyTo(exitNotFound, "like", "db1")
	copyTo(exitRefused, "sealed").says(t, "passphrase")
	// Out of a sealed vault into an open one, only when it is said.
	y.must(exitDone, "vault", "create", y.path("open"))
	y.env["HOLDFAST_VAULT"] = y.path("sealed")
	key := []string{"--passphrase-file", y.path("pass")}
	copyTo(exitRefused, "open", key...)
	copyTo(exitDone, "open", append(key, "--to-unsealed")...).says(t, "copied 2 points")
	y.must(exitDone, append([]string{"vault", "create", y.path("sealed2"), "--like", y.path("sealed")}, key...)...).says(t, "sealed")
	copyTo(exitDone, "sealed2", key...).says(t, "copied 2 points")
}

func TestADamagedPointIsNotCopiedAndTheOthersAre(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.must(exitDone, "vault", "create", y.path("like"), "--like", y.path("vault"))
	// The newest pack of blocks holds what only the second point names.
	var newest string
	var at time.Time
	filepath.WalkDir(y.path("vault/packs"), func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			b, _ := os.ReadFile(name)
			if st, _ := d.Info(); b[10] == 1 && st.ModTime().After(at) {
				newest, at = name, st.ModTime()
			}
		}
		return err
	})
	b, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(newest, b, 0o600); err != nil {
		t.Fatal(err)
	}
	o := y.must(exitDamaged, "vault", "copy", "--quiet", "--min-free=none", "--to", y.path("like"))
	o.says(t, "copied 1 point ")
	o.says(t, "not copied: damaged data: machine web1, point "+y.points[1].ID)
	y.must(exitDone, "check", "--data", "--quiet", "--vault", y.path("like"))
}

// TestEveryCommandOpensASealedVault runs what reads and what writes on a vault
// that nobody can open by chance.
func TestEveryCommandOpensASealedVault(t *testing.T) {
	t.Parallel()
	y := sealedYard(t)
	y.backUpSealed()
	y.backUpSealed()
	for line, code := range map[string]int{
		"points": 0, "point show web1@latest": 0, "diff web1@latest web1@latest": 0, "check": 0, "trash": 0, "sweep --dry-run": 0,
		"point lock web1@latest --until 2030-01-01": 0, "vault rebuild-index": 0, "vault info": 0, "vault key list": 0,
		"vault salvage " + y.path("salvaged"): 0, "volumes web1@latest": 0, "sweep --full --now": 0, "check --data": 0,
	} {
		y.must(exitRefused, strings.Fields(line)...)
		y.must(code, append(strings.Fields(line), "--passphrase-file", y.path("pass"))...)
	}
	y.must(exitDone, "check", "--data", "--vault", y.path("salvaged"), "--passphrase-file", y.path("pass"))
}

func TestAPassphraseThatEveryUserMayReadIsToldOf(t *testing.T) {
	t.Parallel()
	y := sealedYard(t)
	y.backUpSealed()
	for mode, told := range map[fs.FileMode]bool{0o600: false, 0o640: false, 0o644: true} {
		if err := os.Chmod(y.path("pass"), mode); err != nil {
			t.Fatal(err)
		}
		o := y.must(exitDone, "points", "--passphrase-file", y.path("pass"))
		if strings.Contains(o.err, "may read "+y.path("pass")+" (-rw-r--r--): chmod 600") != told {
			t.Errorf("%v: %q", mode, o.err)
		}
	}
}
