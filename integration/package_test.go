package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// packages are those that were built, or are being, by kind and version: what a [sync.OnceValues] returns.
var packages sync.Map

// makePackage builds a package of a version, with a program that says so; each once.
func makePackage(t *testing.T, kind, version string) string {
	t.Helper()
	needs.Tools(t, "go", "gzip")
	once, _ := packages.LoadOrStore(kind+" "+version, sync.OnceValues(func() (string, error) {
		cmd := exec.Command("integration/package/build", kind, version, filepath.Join(filepath.Dir(os.Getenv("HOLDFAST_STATE")), "packages"))
		cmd.Dir = ".."
		cmd.SysProcAttr = endsWithUs()
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			err = fmt.Errorf("build the package: %w\n%s%s", err, out, errs.String())
		}
		return strings.TrimSpace(string(out)), err
	}))
	path, err := once.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// packaged is what the packages put where, with mode and group; all is owned by root.
var packaged = map[string]struct {
	mode  os.FileMode
	group string
}{
	"/usr/bin/holdfast":                                                {0o755, "root"},
	"/etc/holdfast":                                                    {os.ModeDir | 0o755, "root"},
	"/etc/holdfast/config.yaml":                                        {0o640, "holdfast"},
	"/usr/lib/systemd/system/holdfast.service":                         {0o644, "root"},
	"/usr/lib/systemd/system/holdfast-failed.service":                  {0o644, "root"},
	"/usr/lib/systemd/system/plocate-updatedb.service.d/holdfast.conf": {0o644, "root"},
	"/usr/lib/sysusers.d/holdfast.conf":                                {0o644, "root"},
	"/usr/share/man/man1/holdfast.1.gz":                                {0o644, "root"},
	"/usr/share/man/man5/holdfast.yaml.5.gz":                           {0o644, "root"},
	"/usr/share/bash-completion/completions/holdfast":                  {0o644, "root"},
	"/usr/share/fish/vendor_completions.d/holdfast.fish":               {0o644, "root"},
	"/usr/share/holdfast/prometheus-alerts.yaml":                       {0o644, "root"},
	"/usr/share/holdfast/grafana-dashboard.json":                       {0o644, "root"},
	"/usr/share/doc/holdfast/examples/config.yaml":                     {0o644, "root"},
}

// isPackaged compares what was installed with the table.
func (r throwaway) isPackaged(more ...string) {
	r.t.Helper()
	want := packaged
	for name, w := range want {
		var st syscall.Stat_t
		info, err := os.Lstat(r.path(name))
		if err == nil {
			err = syscall.Lstat(r.path(name), &st)
		}
		if err != nil {
			r.t.Error(err)
			continue
		}
		group := strings.Split(r.must(0, "getent", "group", w.group), ":")
		if info.Mode() != w.mode || st.Uid != 0 || fmt.Sprint(st.Gid) != group[2] {
			r.t.Errorf("%s: %v %d:%d, want %v root:%s", name, info.Mode(), st.Uid, st.Gid, w.mode, w.group)
		}
	}
	for _, name := range more {
		if !r.has(name) {
			r.t.Errorf("%s is missing", name)
		}
	}
}

// started is what the unit says that is run.
func (r throwaway) started() []string {
	r.t.Helper()
	b, err := os.ReadFile(r.path("/usr/lib/systemd/system/holdfast.service"))
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if words, ok := strings.CutPrefix(line, "ExecStart="); ok {
			return strings.Fields(words)
		}
	}
	r.t.Fatal("the unit starts nothing")
	return nil
}

// serves runs the daemon as its unit says, until it is ready.
func (r throwaway) serves() *running {
	r.t.Helper()
	socket := r.path("/run/notify")
	os.Remove(socket)
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		r.t.Fatal(err)
	}
	defer l.Close()
	l.SetReadDeadline(time.Now().Add(time.Minute))
	p := r.starts([]string{"NOTIFY_SOCKET=/run/notify"}, r.started()...)
	for b := make([]byte, 4096); ; {
		n, err := l.Read(b)
		if err != nil {
			p.signal(syscall.SIGKILL)
			r.t.Fatalf("the daemon is not ready: %v\n%s", err, p.wait().err)
		}
		if strings.Contains(string(b[:n]), "READY=1") {
			break
		}
	}
	eventually(r.t, "the daemon owns its vault", func() bool {
		b, err := os.ReadFile(r.path("/run/holdfast/vaults.json"))
		return err == nil && strings.Contains(string(b), "/srv/holdfast")
	})
	return p
}

// slowly starts a backup that takes long, and returns its job.
func (r throwaway) slowly() (p *running, job string) {
	r.t.Helper()
	tool(r.t, "dd", "if=/dev/urandom", "of="+r.path("/srv/slow.raw"), "bs=1M", "count=8", "status=none")
	p = r.starts(nil, "holdfast", "--vault", "/srv/holdfast", "backup", "slow", "--disk", "vda=/srv/slow.raw", "--rate", "16KiB")
	eventually(r.t, "the backup runs", func() bool {
		o := r.starts(nil, "holdfast", "--vault", "/srv/holdfast", "jobs", "--json").wait()
		var list []aJob
		if err := json.Unmarshal([]byte(o.out), &list); err != nil || len(list) == 0 {
			return false
		}
		job = list[0].ID
		return list[0].State == "running"
	})
	return p, job
}

func TestThePackageInstallsUpgradesAndLeavesAsItShould(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "dpkg", "dpkg-deb")
	r := newThrowaway(t)
	first, second := r.bring(makePackage(t, "deb", "1.0.0")), r.bring(makePackage(t, "deb", "2.0.0"))
	r.must(0, "dpkg", "--no-triggers", "-i", first)
	r.isPackaged("/usr/share/doc/holdfast/copyright", "/usr/share/doc/holdfast/changelog.gz", "/usr/share/zsh/vendor-completions/_holdfast")
	says(t, r.must(0, "dpkg-query", "--show", "--showformat=${Conffiles}", "holdfast"), "/etc/holdfast/config.yaml")
	says(t, r.must(3, "holdfast", "config", "check"), "can be used", "/srv/holdfast") // which is not there yet
	r.must(0, "holdfast", "vault", "create", "/srv/holdfast")
	r.must(0, "holdfast", "config", "check")

	// It is upgraded while a backup runs.
	daemon := r.serves()
	backup, job := r.slowly()
	said := r.must(0, "dpkg", "--no-triggers", "-i", second)
	says(t, said, "goes on as it is", "restarted when it is idle", "backup slow "+job)
	says(t, r.must(0, "holdfast", "version"), "2.0.0")
	says(t, r.must(0, "holdfast", "--vault", "/srv/holdfast", "job", "show", job), "running")
	r.must(0, "holdfast", "--vault", "/srv/holdfast", "job", "cancel", job)
	backup.wait()
	says(t, daemon.expect(0).err, `tool="holdfast 1.0.0"`, "is idle, and ends as it was asked to")

	// Systemd starts it again. The next version does not like the configuration.
	daemon = r.serves()
	config, err := os.ReadFile(r.path("/etc/holdfast/config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	r.write("/etc/holdfast/config.yaml", string(config)+"\nfrobnicate: yes\n")
	says(t, r.must(0, "dpkg", "--no-triggers", "--force-confold", "-i", second), "left as it is", "frobnicate", "still runs its old version")
	r.write("/etc/holdfast/config.yaml", string(config))
	r.must(0, "holdfast", "--vault", "/srv/holdfast", "points")

	// It is removed while a backup runs.
	backup, job = r.slowly()
	remove := r.starts(nil, "dpkg", "--no-triggers", "-r", "holdfast")
	eventually(t, "the daemon is asked to end, and says for what it waits", func() bool {
		return strings.Contains(remove.err.String(), "waiting for: backup slow") || remove.ended()
	})
	r.must(0, "holdfast", "--vault", "/srv/holdfast", "job", "cancel", job)
	backup.wait()
	says(t, remove.expect(0).err, "waiting for: backup slow", "vaults stay where they are")
	says(t, daemon.expect(0).err, `tool="holdfast 2.0.0"`, "daemon has ended")
	for name, stays := range map[string]bool{"/usr/bin/holdfast": false, "/etc/holdfast/config.yaml": true, "/var/lib/holdfast/jobs": true, "/srv/holdfast/VAULT": true} {
		if r.has(name) != stays {
			t.Errorf("after it was removed %s is there: %v, want %v", name, !stays, stays)
		}
	}
	r.purge()
}

// purge purges the package, and looks what goes and what does not.
func (r throwaway) purge() {
	t := r.t
	t.Helper()
	newVaultAt(t, r.path("/var/lib/holdfast/mine"))
	r.write("/etc/holdfast/main.passphrase", "secret\n")
	says(t, r.must(0, "dpkg", "--no-triggers", "-P", "holdfast"), "/var/lib/holdfast/mine stays", "/etc/holdfast stays")
	for name, stays := range map[string]bool{"/etc/holdfast/config.yaml": false, "/etc/holdfast/main.passphrase": true, "/var/lib/holdfast/jobs": false, "/var/lib/holdfast/audit": false,
		"/var/lib/holdfast/mine/VAULT": true, "/srv/holdfast/VAULT": true} {
		if r.has(name) != stays {
			t.Errorf("after it was purged %s is there: %v, want %v", name, !stays, stays)
		}
	}
	vault{t, r.path("/srv/holdfast")}.must(0, "check", "--data")
	if left := r.starts(nil, "dpkg-query", "--status", "holdfast").wait(); left.code == 0 {
		t.Errorf("dpkg still knows it: %s", left.out)
	}
}

func TestTheUnitsAreWhatSystemdUnderstands(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "systemd-analyze")
	r := newThrowaway(t)
	for _, name := range []string{"holdfast.service", "holdfast-failed.service"} {
		r.must(0, "cp", r.bring(filepath.Join("package", name)), "/usr/lib/systemd/system/"+name)
	}
	r.write("/usr/bin/holdfast", "#!/bin/sh\n")
	r.must(0, "chmod", "755", "/usr/bin/holdfast")
	if said := r.must(0, "systemd-analyze", "verify", "--man=no", "--recursive-errors=no", "holdfast.service", "holdfast-failed.service"); said != "" {
		t.Errorf("%s", said)
	}
	t.Log(r.must(0, "systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=60", "holdfast.service"))
}

func TestTheRPMInstallsAndLeaves(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "rpm")
	r := newThrowaway(t)
	file := r.bring(makePackage(t, "rpm", "1.0.0"))
	r.must(0, "rpm", "-i", "--nodeps", file) // this host's programs are not in its list
	r.isPackaged("/usr/share/licenses/holdfast/LICENSE", "/usr/share/zsh/site-functions/_holdfast")
	says(t, r.must(0, "rpm", "-q", "--configfiles", "holdfast"), "/etc/holdfast/config.yaml")
	says(t, r.must(0, "holdfast", "version"), "1.0.0")
	r.must(0, "holdfast", "vault", "create", "/srv/holdfast")
	daemon := r.serves()
	says(t, r.must(0, "rpm", "-e", "--nodeps", "holdfast"), "ends after the jobs that run", "vaults stay where they are")
	daemon.expect(0)
	if r.has("/usr/bin/holdfast") || !r.has("/srv/holdfast/VAULT") || !r.has("/var/lib/holdfast/jobs") {
		t.Errorf("removed is what should stay, or the other way round")
	}
}
