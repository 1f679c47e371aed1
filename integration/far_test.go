package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestEachCommandDoesForAUserWhatWasGranted runs commands as users of each role, of whom only root may open the vault.
// The columns are exit codes: of root, of an admin, an operator, a restorer and a viewer of web*, of one to whom
// nothing is granted, and of one who may not even use the daemon's socket. 8 is a refusal, 1 that of the
// file system.
func TestEachCommandDoesForAUserWhatWasGranted(t *testing.T) {
	t.Parallel()
	h := newFarHost(t)
	users := []int{0, farAdmin, farOperator, farRestorer, farViewer, farUngranted, farStranger}
	for _, row := range []struct {
		codes [7]int
		line  string
	}{
		{[7]int{0, 0, 0, 0, 8, 8, 1}, "volumes web1@latest"},
		{[7]int{0, 0, 0, 0, 8, 8, 1}, "ls web1@latest:/etc"},
		{[7]int{0, 0, 0, 0, 8, 8, 1}, "cat web1@latest:/etc/motd"},
		{[7]int{0, 0, 0, 0, 8, 8, 1}, "cp web1@latest:/srv/a HOME/ --quiet"},
		{[7]int{0, 0, 0, 0, 8, 8, 1}, "tar web1@latest:/etc"},
		{[7]int{0, 0, 0, 0, 8, 8, 1}, "find web1@latest --name motd"},
		{[7]int{0, 0, 0, 0, 8, 8, 1}, "diff web1@latest web1@latest"},
		{[7]int{0, 0, 0, 0, 8, 8, 1}, "diff web1@latest:/etc web1@latest:/srv"},
		{[7]int{0, 0, 0, 0, 8, 8, 1}, "history web1:/etc/motd"},
		{[7]int{0, 0, 0, 0, 8, 8, 1}, "restore web1@latest --to HOME --quiet"},
		{[7]int{0, 0, 0, 0, 8, 8, 1}, "diff web1@latest:/etc web1@latest:/etc"},
		{[7]int{0, 0, 0, 0, 8, 8, 1}, "history web1:/etc/motd"},
		{[7]int{0, 8, 8, 8, 8, 8, 1}, "history db1:/etc/motd"},
		{[7]int{0, 8, 8, 8, 8, 8, 1}, "volumes db1@latest"},
		{[7]int{0, 8, 8, 8, 8, 8, 1}, "cat db1@latest:/etc/motd"},
		{[7]int{0, 8, 8, 8, 8, 8, 1}, "diff web1@latest db1@latest"},
		{[7]int{0, 8, 8, 8, 8, 8, 1}, "diff web1@latest:/etc db1@latest:/etc"},
		{[7]int{0, 8, 8, 8, 8, 8, 1}, "history db1:/etc/motd"},
		{[7]int{0, 8, 8, 8, 8, 8, 1}, "restore db1@latest --to HOME --quiet"},
		{[7]int{6, 6, 6, 6, 8, 8, 1}, "cat web1@latest:/none"},
		{[7]int{6, 6, 6, 6, 6, 8, 1}, "cat web1@p0000000000000000:/etc/motd"},

		{[7]int{0, 0, 0, 0, 0, 8, 1}, "points web1"},
		{[7]int{0, 0, 0, 0, 0, 8, 1}, "point show web1@latest"},
		{[7]int{0, 8, 8, 8, 8, 8, 1}, "point show db1@latest"},
		{[7]int{0, 0, 0, 0, 0, 8, 1}, "machines"},
		{[7]int{0, 0, 0, 0, 0, 8, 1}, "machine show web1"},
		{[7]int{0, 6, 6, 6, 6, 8, 1}, "machine show db1"},
		{[7]int{0, 0, 0, 0, 0, 8, 1}, "policy list"},
		{[7]int{6, 6, 6, 6, 6, 8, 1}, "policy show none"},
		{[7]int{6, 6, 6, 6, 6, 8, 1}, "policy preview none"},
		{[7]int{0, 0, 0, 0, 0, 8, 1}, "prune --dry-run"},
		{[7]int{0, 0, 0, 0, 0, 8, 1}, "trash list"},
		{[7]int{0, 0, 0, 0, 0, 8, 1}, "vault info"},
		{[7]int{0, 0, 0, 0, 0, 8, 1}, "report usage"},
		{[7]int{0, 0, 0, 0, 0, 0, 0}, "discover"},

		{[7]int{0, 0, 0, 8, 8, 8, 1}, "hold web1 --for 1h --drain"},
		{[7]int{0, 0, 0, 8, 8, 8, 1}, "hold web1 --release"},
		{[7]int{0, 8, 8, 8, 8, 8, 1}, "hold --all --for 1h"},
		{[7]int{0, 8, 8, 8, 8, 8, 1}, "hold --all --release"},
		{[7]int{0, 0, 0, 8, 8, 8, 1}, "point note web1@latest seen"},
		{[7]int{0, 0, 8, 8, 8, 8, 1}, "point lock web1@latest --until 2040-01-01"},
		{[7]int{0, 8, 8, 8, 8, 8, 1}, "sweep --dry-run --quiet"},
		{[7]int{0, 8, 8, 8, 8, 8, 1}, "check --quiet"},
		{[7]int{0, 8, 8, 8, 8, 8, 1}, "policy set nightly --machines web* --schedule daily --timezone UTC --keep-last 3"},
		{[7]int{0, 0, 0, 0, 0, 8, 1}, "policy preview nightly"},
		{[7]int{0, 6, 6, 6, 6, 8, 1}, "policy remove nightly"},
		{[7]int{0, 8, 8, 8, 8, 8, 1}, "grants"},
		{[7]int{0, 8, 8, 8, 8, 8, 1}, "audit"},

		// What takes the vault itself.
		{[7]int{0, 1, 1, 1, 1, 1, 1}, "vault key list"},
		{[7]int{0, 1, 1, 1, 1, 1, 1}, "point show web1@latest --exclusive"},
		{[7]int{6, 1, 1, 1, 1, 1, 1}, "doctor web1"},
	} {
		for i, uid := range users {
			target := filepath.Join(h.home(uid), "out")
			o := h.startAs(uid, strings.Fields(strings.ReplaceAll(row.line, "HOME", target))...).wait()
			if o.code != row.codes[i] {
				t.Errorf("holdfast %s as user %d: exit code %d, want %d\n%.500s%s", row.line, uid, o.code, row.codes[i], o.out, o.err)
			}
			if o.code == 8 && !strings.Contains(o.err, fmt.Sprintf("`holdfast grant %d ", uid)) {
				t.Errorf("holdfast %s as user %d does not say what would grant it: %s", row.line, uid, o.err)
			}
			if o.code == 8 && o.out != "" {
				t.Errorf("holdfast %s as user %d was refused, and told %.300s", row.line, uid, o.out)
			}
			os.RemoveAll(target)
		}
	}
	// Who may do something for all machines may do it without opening the vault.
	h.must(0, "grant", fmt.Sprint(farAdmin), "admin")
	h.as(farAdmin, 0, "policy", "set", "nightly", "--machines", "web*", "--schedule", "daily", "--timezone", "UTC", "--keep-last", "3").says(t, "is made")
	h.as(farAdmin, 0, "policy", "set", "nightly", "--keep-daily", "5").says(t, "is changed", "last 3, daily 5")
	h.as(farAdmin, 0, "policy", "remove", "nightly")
	h.as(farAdmin, 0, "hold", "--all", "--for", "1h", "--drain").says(t, "no backup of all machines")
	h.as(farAdmin, 0, "hold", "--all", "--release")
	h.end(h.daemon)
}

func (o outcome) says(t *testing.T, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(o.out+o.err, w) {
			t.Errorf("%q is not said in\n%s%s", w, o.out, o.err)
		}
	}
}

// TestWhatAUserReadsThroughTheDaemonIsWhatTheVaultHolds compares what a restorer is told with what root reads without
// the daemon, and what the audit log says of it.
func TestWhatAUserReadsThroughTheDaemonIsWhatTheVaultHolds(t *testing.T) {
	t.Parallel()
	h := newFarHost(t)
	older := "web1@" + h.points("web1")[0].ID
	alone := func(words ...string) outcome {
		cmd := h.commandAs(0, words...)
		cmd.Env = append(cmd.Env, "HOLDFAST_DAEMON=off")
		p := &running{t: t, cmd: cmd}
		p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
		if err := p.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return p.wait()
	}
	for _, line := range []string{
		"volumes web1@latest", "volumes web1@latest --json", "ls -l web1@latest:/srv/a", "ls --json " + older + ":vda:/srv", "cat web1@latest:/srv/noise " + older + ":/etc/motd",
		"find web1@latest --name 0*", "tar web1@latest:/etc web1@latest:/srv/a web1@latest:/srv/noise", "tar --format zip " + older + ":/srv/a",
		"diff " + older + " web1@latest", "diff --json web1@latest " + older, "diff " + older + " db1@latest", "point show " + older + " --json", "cat web1@latest:/srv", "ls web1@latest:vdb:/",
		"history web1:/srv/noise --quiet", "history web1:vda:/srv --quiet --no-checksum", "diff --quiet --content " + older + ":/ web1@latest", "diff --quiet " + older + ":/srv db1@latest:/etc",
		"history web1:/none --quiet", "diff " + older + ":/none web1@latest:/none",
		"__complete ls web1@latest:/sr", "__complete cat web1@",
	} {
		h.must(0, "grant", fmt.Sprint(farRestorer), "restore", "--machines", "*")
		words := strings.Fields(line)
		want, got := alone(words...), h.startAs(farRestorer, words...).wait()
		if got.code != want.code || got.out != want.out || got.err != want.err {
			t.Errorf("holdfast %s\nalone %d, %d bytes: %.300s%s\nthrough the daemon %d, %d bytes: %.300s%s", line, want.code, len(want.out), want.out, want.err, got.code, len(got.out), got.out, got.err)
		}
	}
	out := filepath.Join(h.home(farRestorer), "out")
	h.as(farRestorer, 0, "cp", "--quiet", "--as-is", "web1@latest:/srv", out+"/").says(t, "303 files")
	sameTree(t, filepath.Join(h.guest, "srv"), filepath.Join(out, "srv"), "--no-owner", "--no-group", "-O", "--no-times")
	sparse(t, filepath.Join(out, "srv/hole"), 1<<30, 1<<20)
	h.as(farRestorer, 0, "restore", "web1@latest", "--to", out+"/vda.raw", "--quiet", "--verify")
	sparse(t, out+"/vda.raw", 512<<20, 64<<20)
	if a, b := hashFile(t, out+"/vda.raw"), hashFile(t, h.image); a != b {
		t.Error("the restored disk differs")
	}

	h.as(farRestorer, 0, "cat", "web1@latest:/etc/secret")
	h.as(farViewer, 8, "cat", "web1@latest:/etc/secret")
	var entries []struct{ Who, Action, Machine, Object, Outcome, Said string }
	if err := json.Unmarshal([]byte(h.must(0, "audit", "--json").out), &entries); err != nil {
		t.Fatal(err)
	}
	done, refused := 0, 0
	for _, e := range entries {
		if e.Said == "cat web1@latest:/etc/secret" && e.Machine == "web1" && strings.HasSuffix(e.Object, " vda") {
			switch {
			case e.Who == fmt.Sprint(farRestorer) && e.Action == "read-disk" && e.Outcome == "done":
				done++
			case e.Who == fmt.Sprint(farViewer) && e.Outcome == "refused":
				refused++
			}
		}
	}
	if done != 1 || refused == 0 {
		t.Errorf("of the reading of a secret the audit log tells %d times, of the refusal %d times: %+v", done, refused, entries)
	}
	h.end(h.daemon)
}

// sparse wants a file of a size that takes less room than that.
func sparse(t *testing.T, path string, size, most int64) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if took := info.Sys().(*syscall.Stat_t).Blocks * 512; info.Size() != size || took > most {
		t.Errorf("%s: %d bytes that take %d", path, info.Size(), took)
	}
}

// TestADaemonThatGoesAwayEndsWhatReadsThroughIt kills the daemon in the middle of an archive and of a restore.
func TestADaemonThatGoesAwayEndsWhatReadsThroughIt(t *testing.T) {
	t.Parallel()
	h := newFarHost(t)
	for _, line := range []string{"tar web1@latest:/srv", "cat web1@latest:/srv/noise", "restore web1@latest --to - --quiet"} {
		cmd := h.commandAs(farRestorer, strings.Fields(line)...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		p := &running{t: t, cmd: cmd}
		cmd.Stderr = &p.err
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 512)); err != nil {
			t.Fatal(err)
		}
		h.daemon.signal(syscall.SIGKILL)
		h.daemon.wait()
		io.Copy(io.Discard, out)
		o := p.wait()
		if o.code != 1 || !strings.Contains(o.err, "error: the daemon does not answer") || !strings.Contains(o.err, "hint: the vault is read through its daemon") {
			t.Errorf("holdfast %s when its daemon was killed: %d %s", line, o.code, o.err)
		}
		h.daemon = h.again()
	}
	// One that is started again at once is waited for.
	h.end(h.daemon)
	h.daemon = h.again()
	h.as(farRestorer, 0, "cat", "web1@latest:/etc/motd")
	h.end(h.daemon)
}

// TestDamageIsToldToWhoReadsThroughTheDaemon flips a byte in the largest pack, and has root and a restorer read.
func TestDamageIsToldToWhoReadsThroughTheDaemon(t *testing.T) {
	t.Parallel()
	h := newFarHost(t)
	largest, size := "", int64(0)
	filepath.WalkDir(filepath.Join(h.path, "packs"), func(name string, d os.DirEntry, err error) error {
		if info, e := d.Info(); err == nil && e == nil && info.Mode().IsRegular() && info.Size() > size {
			largest, size = name, info.Size()
		}
		return nil
	})
	flipByte(t, largest)
	for _, line := range []string{"cat web1@latest:/srv/noise", "tar web1@latest:/srv/noise", "restore web1@latest --to HOME --quiet", "restore web1@latest --to HOME --quiet --skip-damaged"} {
		var codes []int
		var outs, files []string
		for _, uid := range []int{0, farRestorer} {
			target := filepath.Join(h.home(uid), "out")
			cmd := h.commandAs(uid, strings.Fields(strings.ReplaceAll(line, "HOME", target))...)
			if uid == 0 {
				cmd.Env = append(cmd.Env, "HOLDFAST_DAEMON=off")
			}
			p := &running{t: t, cmd: cmd}
			cmd.Stdout, cmd.Stderr = &p.out, &p.err
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			o := p.wait()
			codes, outs = append(codes, o.code), append(outs, o.out)
			if !strings.Contains(o.err, "offset") && !strings.Contains(o.err, "damaged") {
				t.Errorf("holdfast %s as user %d: %s", line, uid, o.err)
			}
			hash := ""
			if _, err := os.Stat(target); err == nil {
				hash = hashFile(t, target)
			}
			files = append(files, hash)
			os.Remove(target)
		}
		same := outs[0] == outs[1] || !strings.HasPrefix(line, "tar ") // how much cat prints before the damage, and how long a restore takes, does not matter
		if codes[0] != 4 || codes[1] != 4 || !same || files[0] != files[1] {
			t.Errorf("holdfast %s: exit codes %v, %d and %d bytes, files %v", line, codes, len(outs[0]), len(outs[1]), files)
		}
	}
	h.end(h.daemon)
}
