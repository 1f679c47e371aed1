package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// mountedAs has a user mount the vault, and waits until a machine is there.
func (h *farHost) mountedAs(uid int) (at string, p *running) {
	h.t.Helper()
	needFUSE(h.t)
	at = filepath.Join(h.home(uid), "mnt")
	if err := os.Mkdir(at, 0o700); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Chown(at, uid, farGroup); err != nil {
		h.t.Fatal(err)
	}
	p = h.startAs(uid, "mount", at)
	h.t.Cleanup(func() {
		p.signal(syscall.SIGINT)
		if p.cmd.ProcessState == nil {
			p.wait()
		}
		exec.Command("umount", "-l", at).Run() // only after a failure there is something to do
	})
	eventually(h.t, "the mount shows points", func() bool {
		if p.ended() {
			h.t.Fatalf("the mount has ended: %s", p.wait().err)
		}
		return h.shell(uid, "test -d "+at+"/web1/latest/disks") == nil
	})
	return at, p
}

// shell runs a line of shell as a user; an error holds what it printed.
func (h *farHost) shell(uid int, line string) error {
	_, err := h.shellOut(uid, line)
	return err
}

func (h *farHost) shellOut(uid int, line string) (string, error) {
	cmd := exec.CommandContext(h.t.Context(), "sh", "-c", line)
	cmd.SysProcAttr = h.commandAs(uid).SysProcAttr
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return string(out), err
}

// wants runs a line of shell as a user; wrong is what it complains about, "" if it is to succeed.
func (h *farHost) wants(uid int, line, wrong string) {
	h.t.Helper()
	err := h.shell(uid, line)
	if wrong == "" && err != nil || wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)) {
		h.t.Errorf("%s, as user %d: %v, want %q", line, uid, err, wrong)
	}
}

// TestAUserMountsWhatWasGranted has a restorer and a viewer mount a vault that neither may open, changes what they may
// do, takes a point away and kills the daemon, all below the mounts.
func TestAUserMountsWhatWasGranted(t *testing.T) {
	t.Parallel()
	h := newFarHost(t)
	h.must(0, "backup", "web2", "--disk", "vda="+randomImage(t, "web2", 8<<10), "--quiet")
	// fusermount3 mounts for users whom the system knows by name.
	const farRestorer, farViewer = 65534, 1 // nobody, daemon
	for uid, role := range map[int]string{farRestorer: "restore", farViewer: "view"} {
		if _, err := user.LookupId(fmt.Sprint(uid)); err != nil {
			needs.Missing(t, "this host knows no user %d", uid)
		}
		h.must(0, "grant", fmt.Sprint(uid), role, "--machines", "web*")
	}
	at, mount := h.mountedAs(farRestorer)
	latest, unread := at+"/web1/latest", at+"/web2/latest/disks/vda.raw"
	h.wants(farRestorer, "test ! -e "+at+"/db1", "")
	h.wants(farRestorer, "cmp "+latest+"/files/vda/srv/noise "+h.guest+"/srv/noise && cp -r "+latest+"/files/vda/srv/a "+h.home(farRestorer)+"/a", "")
	tool(t, "diff", "-r", h.guest+"/srv/a", h.home(farRestorer)+"/a") // root's own files in the guest are read by who mounts
	h.wants(farRestorer, "cmp "+latest+"/disks/vda.raw "+h.image, "")
	h.wants(farRestorer, "grep -q another "+latest+"/files/vda/etc/motd && grep -q '\"id\"' "+latest+"/point.json && grep -q ext4 "+latest+"/files/volumes.json", "")
	h.wants(farRestorer, "cp --sparse=auto "+latest+"/disks/vda.raw "+h.home(farRestorer)+"/copy", "")
	sparse(t, h.home(farRestorer)+"/copy", 512<<20, 64<<20)
	h.wants(farViewer, "ls "+at, "Permission denied") // it is the restorer's own

	viewer, _ := h.mountedAs(farViewer)
	h.wants(farViewer, "grep -q '\"id\"' "+viewer+"/web1/latest/point.json", "")
	for _, path := range []string{"disks/vda.raw", "files/volumes.json"} {
		h.wants(farViewer, "cat "+viewer+"/web1/latest/"+path, "Permission denied")
	}
	h.wants(farViewer, "ls "+viewer+"/web1/latest/files", "Permission denied")
	h.wants(farViewer, "ls "+viewer+"/web1/latest/files/vda", "Permission denied")
	h.must(0, "grant", fmt.Sprint(farViewer), "restore", "--machines", "web*")
	h.wants(farViewer, "cat "+viewer+"/web1/latest/files/vda/etc/motd", "")

	older := fmt.Sprintf("%s/web1/%s", at, h.oldestFolder(at, farRestorer))
	h.wants(farRestorer, "cat "+older+"/files/vda/etc/motd", "")
	h.must(0, "point", "delete", "web1@"+h.points("web1")[0].ID)
	eventually(t, "the point is gone", func() bool { return errors.Is(statAs(h, farRestorer, older), os.ErrNotExist) })

	h.must(0, "revoke", fmt.Sprint(farRestorer))
	h.must(0, "grant", fmt.Sprint(farRestorer), "view", "--machines", "web*")
	h.wants(farRestorer, "dd if="+unread+" of=/dev/null bs=1M count=1", "Permission denied")
	h.must(0, "grant", fmt.Sprint(farRestorer), "restore", "--machines", "web*")

	h.wants(farRestorer, "dd if="+unread+" of=/dev/null bs=1M count=1", "")
	h.daemon.signal(syscall.SIGKILL)
	h.daemon.wait()
	h.wants(farRestorer, "dd if="+unread+" of=/dev/null bs=1M", "Input/output error")
	h.wants(farRestorer, "ls "+latest+"/disks", "")
	h.daemon = h.again()
	eventually(t, "it is read again", func() bool {
		return h.shell(farRestorer, "dd if="+unread+" of=/dev/null bs=1M") == nil
	})
	h.must(0, "revoke", fmt.Sprint(farRestorer))
	eventually(t, "nothing is shown any more", func() bool { return h.shell(farRestorer, "test -z \"$(ls "+at+")\"") == nil })
	mount.signal(syscall.SIGINT)
	o := mount.expect(0)
	o.says(t, "unmounted", "the daemon does not answer", "lacks the permission")
	h.end(h.daemon)
}

// oldestFolder is the folder of a machine's oldest point.
func (h *farHost) oldestFolder(at string, uid int) string {
	h.t.Helper()
	out, err := h.shellOut(uid, "ls "+at+"/web1 | head -1")
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// statAs asks for a file as a user.
func statAs(h *farHost, uid int, path string) error {
	err := h.shell(uid, "stat "+path)
	if err != nil && strings.Contains(err.Error(), "No such file") {
		return os.ErrNotExist
	}
	return err
}
