package integration

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// Users of the host who are not root. None has an entry in the system's directory of users.
const (
	farAdmin = 61000 + iota
	farOperator
	farRestorer
	farViewer
	farUngranted // is in the group of the socket, and nothing is granted to it
	farStranger  // is not even in the group
)

// farGroup is the group whose members may use the socket: nogroup.
const farGroup = 65534

// farHost is a host with a daemon and several users, none of whom may open its vault. It holds two points of web1 and
// one of db1, whose disk is a file system; the users were granted their roles for web*.
type farHost struct {
	*service
	dir     string // everybody reaches it
	program string // that everybody may run
	daemon  *running
	guest   string // the folder that the file system was made of
	image   string // of web1's second point
}

func newFarHost(t *testing.T) *farHost {
	t.Helper()
	needs.Root(t)
	needs.Tools(t, "mkfs.ext4")
	dir, err := os.MkdirTemp("", "hf")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &farHost{dir: dir, program: filepath.Join(dir, "holdfast"), guest: filepath.Join(dir, "guest"), image: filepath.Join(dir, "b.img")}
	tool(t, "cp", binary, h.program)
	if err := os.Mkdir(filepath.Join(dir, "closed"), 0o700); err != nil {
		t.Fatal(err)
	}
	v := newVaultAt(t, filepath.Join(dir, "closed", "vault"))
	h.makeGuest(t)
	v.backup("web1", h.fileSystem(t, "a.img"), "--quiet")
	if err := os.WriteFile(filepath.Join(h.guest, "etc/motd"), []byte("another greeting\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	v.backup("web1", h.fileSystem(t, "b.img"), "--quiet")
	v.backup("db1", h.image, "--quiet")
	h.service = newService(t, v, "group: nogroup\ngroup-role: none\n")
	if err := os.Chmod(filepath.Dir(h.run), 0o755); err != nil {
		t.Fatal(err)
	}
	h.daemon = h.begin()
	for uid, role := range map[int]string{farAdmin: "admin", farOperator: "operate", farRestorer: "restore", farViewer: "view"} {
		h.must(0, "grant", fmt.Sprint(uid), role, "--machines", "web*")
	}
	return h
}

// again starts the daemon again, whatever became of the one before, and waits until it answers.
func (h *farHost) again() *running {
	h.t.Helper()
	p := h.launch()
	eventually(h.t, "the daemon answers", func() bool {
		c, err := net.Dial("unix", filepath.Join(h.run, "api.sock"))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return p
}

// makeGuest fills the folder that the file system of the machines is made of: 24 MiB of noise, a hole, and small files.
func (h *farHost) makeGuest(t *testing.T) {
	t.Helper()
	noise := make([]byte, 24<<20)
	rand.NewChaCha8([32]byte{7}).Read(noise)
	for name, content := range map[string][]byte{"etc/fstab": []byte("/dev/vda / ext4 defaults 0 1\n"), "etc/motd": []byte("welcome\n"), "etc/secret": []byte("not for all\n"),
		"srv/noise": noise, "srv/a/b/c": []byte("c\n")} {
		path := filepath.Join(h.guest, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 300 {
		if err := os.WriteFile(filepath.Join(h.guest, fmt.Sprintf("srv/a/%03d", i)), fmt.Appendf(nil, "file %d\n", i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tool(t, "truncate", "-s", "1G", filepath.Join(h.guest, "srv/hole"))
}

func (h *farHost) fileSystem(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(h.dir, name)
	tool(t, "truncate", "-s", "512M", path)
	tool(t, "mkfs.ext4", "-q", "-E", "hash_seed=6b3f2d4e-0000-4000-8000-000000000001", "-U", "6b3f2d4e-0000-4000-8000-000000000002", "-d", h.guest, path)
	return path
}

// home is a folder that belongs to a user.
func (h *farHost) home(uid int) string {
	h.t.Helper()
	path := filepath.Join(h.dir, fmt.Sprint("home", uid))
	if err := os.MkdirAll(path, 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Chown(path, uid, farGroup); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// commandAs is a command of a user of the host; 0 is root.
func (h *farHost) commandAs(uid int, args ...string) *exec.Cmd {
	cmd := h.command(args...)
	cmd.Path, cmd.Args[0], cmd.Dir = h.program, h.program, h.home(uid)
	for i, e := range cmd.Env {
		if strings.HasPrefix(e, "HOLDFAST_STATE=") && uid != 0 {
			cmd.Env[i] = "HOLDFAST_STATE=" + filepath.Join(cmd.Dir, "state")
		}
	}
	if uid != 0 {
		gid := uint32(farGroup)
		if uid == farStranger {
			gid = farStranger
		}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: gid, Groups: []uint32{gid}}
	}
	return cmd
}

func (h *farHost) startAs(uid int, args ...string) *running {
	h.t.Helper()
	p := &running{t: h.t, cmd: h.commandAs(uid, args...)}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if err := p.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	return p
}

// as runs a command of a user, which is to end with a code.
func (h *farHost) as(uid, code int, args ...string) outcome {
	h.t.Helper()
	o := h.startAs(uid, args...).wait()
	if o.code != code {
		h.t.Fatalf("holdfast %s as user %d: exit code %d, want %d\n%.2000s%s", strings.Join(args, " "), uid, o.code, code, o.out, o.err)
	}
	return o
}
