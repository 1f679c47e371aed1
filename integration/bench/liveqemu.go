package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/quiesce/qmp"
)

// object is what QEMU's monitor takes and gives.
type object = map[string]any

// qemuVM is a QEMU of ours with two monitors: one for what is measured, and one by which
// the benchmark has its disks written to.
type qemuVM struct {
	cmd    *exec.Cmd
	folder string // of sockets and of the files through which disks are written
	qmp    string // socket of the monitor for what is measured
	hand   *qmp.Client
	said   bytes.Buffer
	ended  chan struct{}
}

const liveUUID = "8e9a3b76-0d5c-4b0c-9d9e-3f1c1a2b3c4d"

// startQEMU starts one without a guest, but for what args say. The caller ends it.
func (b *bench) startQEMU(ctx context.Context, args ...string) (*qemuVM, error) {
	folder, err := os.MkdirTemp("", "hfbench") // short, for sockets
	if err != nil {
		return nil, err
	}
	q := &qemuVM{folder: folder, qmp: filepath.Join(folder, "qmp"), ended: make(chan struct{})}
	hand := filepath.Join(folder, "hand")
	q.cmd = exec.Command("qemu-system-x86_64", append([]string{"-M", "pc", "-nodefaults", "-display", "none", "-accel", "tcg", "-m", "16",
		"-no-user-config", "-name", machine, "-uuid", liveUUID,
		"-qmp", "unix:" + q.qmp + ",server=on,wait=off", "-qmp", "unix:" + hand + ",server=on,wait=off"}, args...)...)
	q.cmd.Stderr = &q.said
	q.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := q.cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	go func() { // end waits for it
		q.cmd.Wait()
		close(q.ended)
	}()
	if q.hand, err = q.dial(ctx, hand); err != nil {
		q.end()
		return nil, fmt.Errorf("qemu does not start: %w: %s", err, lastLines(q.said.String()))
	}
	return q, nil
}

func (q *qemuVM) dial(ctx context.Context, socket string) (*qmp.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		c, err := qmp.Dial(ctx, socket)
		if err == nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-q.ended:
			return nil, errors.New("it has ended")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// end kills QEMU: what its disks hold by then is in their files. It may be called again.
func (q *qemuVM) end() error {
	if q.hand != nil {
		q.hand.Close()
	}
	q.cmd.Process.Kill()
	<-q.ended
	if shown, err := filepath.Glob(filepath.Join(q.folder, "disk-*")); err == nil {
		for _, path := range shown { // mostly there is nothing mounted any more
			unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		}
	}
	return os.RemoveAll(q.folder)
}

func (q *qemuVM) do(ctx context.Context, command string, args object, reply any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return q.hand.Do(ctx, command, args, reply)
}

// diskArgs attach an image as disk id, whose node is called n-id.
func diskArgs(id, format, path string) []string {
	return []string{
		"-blockdev", "driver=" + format + ",node-name=n-" + id + ",discard=unmap,file.driver=file,file.discard=unmap,file.filename=" + path,
		"-device", "virtio-blk-pci,share-rw=on,id=" + id + ",drive=n-" + id, // shared with writer
	}
}

// writer is a disk as its guest has it: what is written passes through all that QEMU has
// laid over it, past every cache of the kernel.
type writer struct {
	*os.File
	q    *qemuVM
	id   string
	path string
}

// writer opens a disk of QEMU's for writing.
func (q *qemuVM) writer(ctx context.Context, id string) (*writer, error) {
	w := &writer{q: q, id: "bench-" + id, path: filepath.Join(q.folder, "disk-"+id)}
	if err := os.WriteFile(w.path, nil, 0o600); err != nil {
		return nil, err
	}
	err := q.do(ctx, "block-export-add", object{"type": "fuse", "id": w.id, "node-name": "n-" + id, "mountpoint": w.path, "writable": true}, nil)
	if err != nil {
		return nil, fmt.Errorf("have QEMU show disk %s as a file: %w", id, err)
	}
	if w.File, err = os.OpenFile(w.path, os.O_RDWR|unix.O_DIRECT, 0); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// Close takes the file away again. Without a deadline of the caller: what runs must end.
func (w *writer) Close() error {
	var errs []error
	if w.File != nil {
		errs = append(errs, w.File.Close())
	}
	ctx := context.Background()
	errs = append(errs, w.q.do(ctx, "block-export-del", object{"id": w.id, "mode": "hard"}, nil))
	for range 1000 {
		var exports []struct{ ID string }
		if err := w.q.do(ctx, "query-block-exports", nil, &exports); err != nil {
			return errors.Join(append(errs, err)...)
		}
		there := false
		for _, e := range exports {
			there = there || e.ID == w.id
		}
		if !there {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return errors.Join(errs...)
}

// aligned is a buffer for reads and writes past the kernel's caches.
func aligned(bytes int) ([]byte, error) {
	return unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
}

// cpu is what QEMU has used of processors since its start, in seconds.
func (q *qemuVM) cpu() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", q.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // from the third on
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat of qemu: %q", text)
	}
	var user, system float64
	_, err = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	return (user + system) / 100, err
}

// withQEMU measures do, and adds what QEMU used of processors for it.
func (q *qemuVM) withQEMU(do func() (cost, error)) (cost, error) {
	before, err := q.cpu()
	if err != nil {
		return cost{}, err
	}
	c, err := do()
	if err != nil {
		return c, err
	}
	after, err := q.cpu()
	c.CPU += after - before
	return c, err
}

// readBytes is how much QEMU has read from files since its start.
func (q *qemuVM) readBytes() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", q.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	var n int64
	_, err = fmt.Sscanf(strings.SplitN(string(text), "\n", 2)[0], "rchar: %d", &n)
	return n, err
}
