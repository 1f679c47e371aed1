package libvirt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-backup/holdfast/quiesce/qemu"
)

// ImageReader reads an image through qemu-nbd, as a source of a backup. The process ends
// with Close, and with ours.
type ImageReader struct {
	*qemu.Export
	cmd    *exec.Cmd
	said   said
	exited chan struct{}
	folder string
	once   sync.Once
}

// imageSpec is what qemu-nbd shall serve.
type imageSpec struct {
	node    map[string]any
	secrets map[string][]byte // values by id
}

const serverStart = 30 * time.Second

// fileNode describes a file of this host.
func fileNode(path, format string) map[string]any {
	node := map[string]any{"driver": format, "read-only": true, "file": map[string]any{"driver": "file", "filename": path, "read-only": true}}
	if format == "qcow2" {
		node["backing"] = nil
	}
	return node
}

// openImage starts a server and connects to it. ctx bounds that, not the server's life.
func openImage(ctx context.Context, spec imageSpec) (_ *ImageReader, err error) {
	r := &ImageReader{exited: make(chan struct{})}
	if r.folder, err = os.MkdirTemp(shortTemp(), "holdfast-"); err != nil {
		return nil, err
	}
	socket := filepath.Join(r.folder, "nbd")
	if err := r.start(spec, socket); err != nil {
		os.RemoveAll(r.folder)
		return nil, err
	}
	if err := r.connect(ctx, socket); err != nil {
		err = fmt.Errorf("%w (qemu-nbd: %s)", err, message(r.said.String()))
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// shortTemp is a folder whose names fit the address of a socket.
func shortTemp() string {
	if d := os.TempDir(); len(d) <= 70 {
		return d
	}
	return "/tmp"
}

func (r *ImageReader) start(spec imageSpec, socket string) error {
	tool, err := exec.LookPath("qemu-nbd")
	if err != nil {
		return fmt.Errorf("%w (it is in the package qemu-utils)", err)
	}
	text, err := json.Marshal(spec.node)
	if err != nil {
		return err
	}
	// It goes when its last client does.
	r.cmd = exec.Command(tool, "--read-only", "--shared=16", "--socket="+socket)
	for id, value := range spec.secrets {
		f, err := inMemory(string(value))
		if err != nil {
			return err
		}
		defer f.Close()
		r.cmd.Args = append(r.cmd.Args, "--object", fmt.Sprintf("secret,id=%s,file=/proc/self/fd/%d", id, 3+len(r.cmd.ExtraFiles)))
		r.cmd.ExtraFiles = append(r.cmd.ExtraFiles, f)
	}
	r.cmd.Args = append(r.cmd.Args, "json:"+string(text))
	r.cmd.Stdout, r.cmd.Stderr = &r.said, &r.said
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	go func() { // Close waits for it
		runtime.LockOSThread() // the death that the kernel reports to the child is this thread's
		err := r.cmd.Start()
		started <- err
		if err == nil {
			r.cmd.Wait()
			close(r.exited)
		}
	}()
	return <-started
}

func (r *ImageReader) connect(ctx context.Context, socket string) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, serverStart, errors.New("qemu-nbd did not open its socket in time"))
	defer cancel()
	for {
		if _, err := os.Stat(socket); err == nil {
			r.Export, err = qemu.OpenExport(ctx, qemu.ExportOptions{Socket: socket})
			if err == nil || !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.exited:
			return errors.New("qemu-nbd ended at once")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Close ends reading and the server. It may be called again.
func (r *ImageReader) Close() error {
	var err error
	r.once.Do(func() {
		if r.Export != nil {
			err = r.Export.Close()
		}
		r.cmd.Process.Kill()
		<-r.exited
		err = errors.Join(err, os.RemoveAll(r.folder))
	})
	return err
}

// said keeps the beginning of what a process says; it may be read while that goes on.
type said struct {
	mu   sync.Mutex
	text bounded
}

func (t *said) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text.limit = maxMessage
	return t.text.Write(p)
}

func (t *said) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}
