package libvirt

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// pid is the domain's QEMU process; 0 where this host does not tell.
func (d *Domain) pid() int {
	root, err := d.record()
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(root.attr("pid"))
	return n
}

// runningQEMU is the version of the QEMU that runs the domain, which may be older than
// the one that is installed. The program is asked itself, even if its file is gone.
func (d *Domain) runningQEMU(ctx context.Context) (Version, error) {
	pid := d.pid()
	if pid <= 0 {
		return Version{}, fmt.Errorf("the QEMU process of domain %q is not known", d.name)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, fmt.Sprintf("/proc/%d/exe", pid), "--version")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	out := &bounded{limit: maxMessage}
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		return Version{}, fmt.Errorf("ask QEMU for its version: %w", err)
	}
	v := findVersion(out.String(), "QEMU emulator version ")
	if v == (Version{}) {
		return v, fmt.Errorf("ask QEMU for its version: it says %.80q", out.String())
	}
	return v, nil
}

// diesOfExports tells whether this QEMU dies when a client leaves its NBD server while
// a disk has an I/O thread: those before 9.0, and any of which that is not known.
func (d *Domain) diesOfExports(ctx context.Context) bool {
	v, err := d.runningQEMU(ctx)
	return err != nil || v.Before(9, 0)
}

// owner is the user and group that QEMU runs as, by the label that libvirt gave it.
func owner(root *element) (uid, gid int) {
	for _, l := range root.all("seclabel") {
		if l.attr("model") != "dac" {
			continue
		}
		user, group, _ := strings.Cut(l.text("label"), ":")
		u, err1 := strconv.Atoi(strings.TrimPrefix(user, "+"))
		g, err2 := strconv.Atoi(strings.TrimPrefix(group, "+"))
		if err1 == nil && err2 == nil {
			return u, g
		}
	}
	return -1, -1 // unchanged
}

// socket is where QEMU shall listen for us: beside its monitor, in a folder that
// libvirt has prepared for it under every security driver; or in the folder of scratch files.
func (d *Domain) socket(f *folder) (string, error) {
	if root, err := d.record(); err == nil {
		if m := root.child("monitor"); m.attr("type") == "unix" {
			if st, err := os.Stat(m.attr("path")); err == nil && st.Mode()&os.ModeSocket != 0 {
				path := filepath.Join(filepath.Dir(m.attr("path")), ourPrefix+"nbd")
				if len(path) <= longSocket {
					return path, nil
				}
			}
		}
	}
	path := f.file("nbd")
	if len(path) > longSocket {
		return "", fmt.Errorf("the path of a socket in %s would be too long", f.path)
	}
	return path, nil
}
