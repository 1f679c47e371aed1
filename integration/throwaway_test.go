package integration

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// throwaway is this host's root file system, to be changed at will: what is written stays in
// memory, and goes with the test. Nothing runs in it but what the test starts.
type throwaway struct {
	t    *testing.T
	root string
}

// newThrowaway makes one in which programs run as after chroot. It needs root and overlayfs.
func newThrowaway(t *testing.T) throwaway {
	t.Helper()
	r := bareThrowaway(t)
	for _, d := range []string{"proc", "dev"} {
		r.mount("/"+d, filepath.Join(r.root, d), "", syscall.MS_BIND, "")
	}
	for _, d := range []string{"run", "tmp", "srv"} {
		r.mount("tmpfs", filepath.Join(r.root, d), "tmpfs", 0, "mode=755")
	}
	return r
}

// bareThrowaway has no other file systems mounted in it.
func bareThrowaway(t *testing.T) throwaway {
	t.Helper()
	needs.Root(t)
	dir, err := os.MkdirTemp("", "hfroot") // names of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) // after what is mounted there is gone
	r := throwaway{t, filepath.Join(dir, "r")}
	memory := filepath.Join(dir, "m")
	for _, d := range []string{r.root, memory} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.mount("tmpfs", memory, "tmpfs", 0, "mode=755")
	for _, d := range []string{"up", "work"} {
		if err := os.Mkdir(filepath.Join(memory, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mount("overlay", r.root, "overlay", 0, "lowerdir=/,upperdir="+memory+"/up,workdir="+memory+"/work"); err != nil {
		needs.Missing(t, "no overlay of the root file system: %v", err)
	}
	r.ends(r.root)
	return r
}

func (r throwaway) mount(what, at, kind string, flags uintptr, data string) {
	r.t.Helper()
	if err := syscall.Mount(what, at, kind, flags, data); err != nil {
		needs.Missing(r.t, "mount %s: %v", at, err)
	}
	r.ends(at)
}

func (r throwaway) ends(at string) {
	r.t.Cleanup(func() {
		if err := syscall.Unmount(at, syscall.MNT_DETACH); err != nil {
			r.t.Errorf("unmount %s: %v", at, err)
		}
	})
}

// path is where a file of it lies.
func (r throwaway) path(name string) string { return filepath.Join(r.root, name) }

func (r throwaway) has(name string) bool {
	_, err := os.Lstat(r.path(name))
	return err == nil
}

// write makes a file.
func (r throwaway) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(r.path(name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// bring copies a file of the host into its /tmp.
func (r throwaway) bring(file string) string {
	r.t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		r.t.Fatal(err)
	}
	name := filepath.Join("/tmp", filepath.Base(file))
	r.write(name, string(b))
	return name
}

// removes takes files of it away.
func (r throwaway) removes(pattern string) {
	r.t.Helper()
	names, err := filepath.Glob(r.path(pattern))
	for _, name := range names {
		err = errors.Join(err, os.RemoveAll(name))
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// starts starts a program in it, as on a host that has just been installed.
func (r throwaway) starts(more []string, words ...string) *running {
	r.t.Helper()
	p := &running{t: r.t, cmd: exec.CommandContext(r.t.Context(), "/bin/sh", "-c", `exec "$@"`, "sh")}
	p.cmd.Args = append(p.cmd.Args, words...)
	p.cmd.Dir = "/"
	p.cmd.SysProcAttr = endsWithUs()
	p.cmd.SysProcAttr.Chroot = r.root
	p.cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"}, more...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if err := p.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	return p
}

// must runs a program in it, and returns all that it says.
func (r throwaway) must(code int, words ...string) string {
	r.t.Helper()
	o := r.starts(nil, words...).wait()
	if o.code != code {
		r.t.Fatalf("%s: exit code %d, want %d\n%s%s", strings.Join(words, " "), o.code, code, o.out, o.err)
	}
	return o.out + o.err
}

// says fails the test unless a text has all that is wanted.
func says(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}
