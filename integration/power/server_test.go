package power

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// The vaults of these tests lie on a file server that stops to answer: one in user
// space, whose process is stopped. What uses it waits in the kernel then, as for
// an NFS server that is mounted hard.

const shortPatience = 500 * time.Millisecond

// showFolder serves a folder until the process is asked to end.
func showFolder(order childOrder) error {
	plain, err := fs.NewLoopbackRoot(order.Folder)
	if err != nil {
		return err
	}
	root := &remoteNode{plain.(*fs.LoopbackNode)}
	server, err := fs.Mount(order.Mount, root, &fs.Options{MountOptions: fuse.MountOptions{FsName: "fileserver", Name: "fileserver"}})
	if err != nil {
		return err
	}
	fmt.Println("serving")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	return server.Unmount()
}

// remoteNode is a file or folder that the kernel has to ask the server for: it
// would read the files behind it past the server otherwise.
type remoteNode struct{ *fs.LoopbackNode }

func (n *remoteNode) WrapChild(_ context.Context, ops fs.InodeEmbedder) fs.InodeEmbedder {
	return &remoteNode{ops.(*fs.LoopbackNode)}
}

func (n *remoteNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f, how, errno := n.LoopbackNode.Open(ctx, flags)
	return remote(f), how, errno
}

func (n *remoteNode) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	child, f, how, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	return child, remote(f), how, errno
}

// remoteFile is an open file of a remoteNode.
type remoteFile struct{ *fs.LoopbackFile }

func remote(f fs.FileHandle) fs.FileHandle {
	if l, ok := f.(*fs.LoopbackFile); ok {
		return remoteFile{l}
	}
	return f
}

func (remoteFile) PassthroughFd() (int, bool) { return 0, false }

// fileServer is a folder on a server.
type fileServer struct {
	t      *testing.T
	at     string // where it is mounted
	folder string // what it shows
	cmd    *exec.Cmd
}

func startServer(t *testing.T) *fileServer {
	t.Helper()
	need(t, "fusermount3")
	s := &fileServer{t: t, at: t.TempDir(), folder: t.TempDir()}
	s.start()
	t.Cleanup(func() {
		s.goOn()
		s.cmd.Process.Signal(syscall.SIGTERM)
		ended := make(chan error, 1)
		go func() { ended <- s.cmd.Wait() }()
		for range 1200 {
			runtime.GC() // vaults let go of their segments
			select {
			case <-ended:
				exec.Command("fusermount3", "-uz", s.at).Run() // of one that was killed
				return
			case <-time.After(50 * time.Millisecond):
				s.cmd.Process.Signal(syscall.SIGTERM)
			}
		}
		t.Error("the file server does not end")
		s.cmd.Process.Kill()
		exec.Command("fusermount3", "-uz", s.at).Run()
	})
	return s
}

func (s *fileServer) start() {
	s.t.Helper()
	s.cmd = child(s.t, childOrder{Mount: s.at, Folder: s.folder})
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		s.t.Fatalf("%q, %v", line, err)
	}
}

// stop returns once every thread of the server stands still.
func (s *fileServer) stop() {
	s.cmd.Process.Signal(syscall.SIGSTOP)
	for range 60_000 {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.cmd.Process.Pid))
		running := 0
		for _, name := range threads {
			if b, err := os.ReadFile(name); err == nil && !bytes.Contains(b, []byte(") T ")) {
				running++
			}
		}
		if running == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	s.t.Error("the file server does not stop")
}

func (s *fileServer) goOn() { s.cmd.Process.Signal(syscall.SIGCONT) }

// die ends the server as a crash does: what uses it gets errors from then on.
func (s *fileServer) die() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// again starts the server anew.
func (s *fileServer) again() {
	s.t.Helper()
	tool(s.t, "fusermount3", "-uz", s.at)
	s.start()
}

// halfway is a disk that does something once half of it is read.
type halfway struct {
	disk
	do func()
}

func (h halfway) ReadAt(p []byte, off int64) (int, error) {
	if off <= int64(len(h.disk))/2 && int64(len(h.disk))/2 < off+int64(len(p)) {
		h.do()
	}
	return h.disk.ReadAt(p, off)
}

// ownAt opens a vault, or makes it.
func ownAt(t *testing.T, dir, state string) *blockstore.Owner {
	t.Helper()
	if _, err := os.Stat(dir); err != nil {
		if _, err := blockstore.Create(t.Context(), dir, blockstore.CreateOptions{BlockSize: 16 << 10}); err != nil {
			t.Fatal(err)
		}
	}
	o, err := blockstore.Own(t.Context(), dir, blockstore.OwnOptions{MinFree: -1, StateDir: state, Wait: time.Minute,
		Options: blockstore.Options{Patience: shortPatience, Warn: func(s string) { t.Log("warning: " + s) }}})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// backUpFrom backs up a source other than a plain disk.
func backUpFrom(t *testing.T, o *blockstore.Owner, src blockstore.Source) error {
	b, err := o.Begin(t.Context(), blockstore.BackupOptions{Machine: "web1", Time: time.Now()})
	if err != nil {
		return err
	}
	defer b.Abort()
	if err := b.AddDisk(t.Context(), blockstore.DiskInfo{Name: "vda", Format: "raw"}, src, nil); err != nil {
		return err
	}
	_, err = b.Commit(t.Context())
	return err
}

// TestAServerThatStopsOrDiesEndsTheJobsOfItsVaultAndNoOthers runs a backup into a
// vault on a server that stops to answer, or is gone, halfway, beside a vault
// elsewhere.
func TestAServerThatStopsOrDiesEndsTheJobsOfItsVaultAndNoOthers(t *testing.T) {
	for name, fail := range map[string]func(*fileServer){"stops": (*fileServer).stop, "dies": (*fileServer).die} {
		t.Run(name, func(t *testing.T) {
			s, r := startServer(t), seeded(t)
			far, near, state := filepath.Join(s.at, "vault"), filepath.Join(t.TempDir(), "vault"), t.TempDir()
			o, other := ownAt(t, far, state), ownAt(t, near, state)
			d := make(disk, 4<<20)
			change(d, r)
			for _, o := range []*blockstore.Owner{o, other} {
				if _, err := backUp(t.Context(), o, "web1", d); err != nil {
					t.Fatal(err)
				}
			}
			change(d, r)
			err := backUpFrom(t, o, halfway{d, func() { fail(s) }})
			var hang *blockstore.HangError
			if err == nil || errors.As(err, &hang) != (name == "stops") {
				t.Errorf("the backup ended with %v", err)
			}
			if name == "stops" && !strings.Contains(err.Error(), "does not answer") {
				t.Errorf("the words do not say what is wrong: %v", err)
			}
			if _, err := backUp(t.Context(), other, "web1", d); err != nil { // in the meantime
				t.Errorf("the other vault: %v", err)
			}
			mustBeWhole(t, other.Vault)
			if err := other.Close(); err != nil {
				t.Error(err)
			}
			if err := o.Close(); err == nil {
				t.Error("the vault was closed as if nothing were wrong")
			}
			if name == "stops" {
				s.goOn()
			} else {
				s.again()
			}
			next := ownAt(t, far, state)
			listed, _ := mustBeWhole(t, next.Vault)
			if len(listed) != 1 {
				t.Errorf("%d points, want the one that was committed", len(listed))
			}
			if _, err := backUp(t.Context(), next, "web1", d); err != nil {
				t.Errorf("the next backup: %v", err)
			}
			if err := next.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// readWhileStopped looks IDs up that lie in no cache, which waits for the
// server, and goes on with other work meanwhile: collections of garbage, which
// wait for each goroutine.
func readWhileStopped(order childOrder) error {
	ctx := context.Background()
	v, err := blockstore.Open(ctx, order.Reader, blockstore.Options{Patience: shortPatience})
	if err != nil {
		return err
	}
	points, err := v.Points(ctx)
	if err != nil || len(points) == 0 {
		return fmt.Errorf("%d points: %w", len(points), err)
	}
	d, err := v.OpenDisk(points[0], "vda")
	if err != nil {
		return err
	}
	first := make([]byte, 4096)
	if _, err := d.ReadAt(first, 0); err != nil { // its pack is open from here on
		return err
	}
	if err := forgetFiles(order.Reader); err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil { // the caches are empty, the server is stopped
		return err
	}
	go func() {
		for at := int64(0); at < d.Size(); at += 16 << 10 {
			d.ReadAt(first, at) // it waits, or fails when the server goes on
		}
	}()
	time.Sleep(100 * time.Millisecond)
	for range 5 {
		runtime.GC()
	}
	fmt.Println("alive")
	return nil
}

// forgetFiles does to what is cached of a vault's files what need of memory does.
func forgetFiles(vault string) error {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(maps)) {
		var from, to uintptr
		if !strings.Contains(line, "/segments/") {
			continue
		}
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
			return err
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); errno != 0 {
			return errno
		}
	}
	return filepath.WalkDir(vault, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}

// TestAProcessLivesOnWhileALookUpWaitsForAServerThatStopped would hang if a goroutine
// waited in a page fault: nothing of such a process runs any more.
func TestAProcessLivesOnWhileALookUpWaitsForAServerThatStopped(t *testing.T) {
	s, r := startServer(t), seeded(t)
	dir := filepath.Join(s.at, "vault")
	o := ownAt(t, dir, t.TempDir())
	d := make(disk, 4<<20)
	for i := range d {
		d[i] = byte(r.Uint32())
	}
	if _, err := backUp(t.Context(), o, "web1", d); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	for range 5 { // nobody else keeps its segments in memory
		runtime.GC()
		time.Sleep(20 * time.Millisecond)
	}
	cmd := child(t, childOrder{Reader: dir})
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	s.stop()
	fmt.Fprintln(in, "now")
	alive := make(chan string, 1)
	go func() {
		line, _ := lines.ReadString('\n')
		alive <- line
	}()
	select {
	case line := <-alive:
		if !bytes.HasPrefix([]byte(line), []byte("alive")) {
			t.Errorf("the reader says %q", line)
		}
	case <-time.After(time.Minute):
		t.Error("the process that reads stands still as long as the server does")
	}
	s.goOn()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
