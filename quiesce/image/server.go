package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-backup/holdfast/quiesce/nbd"
)

// server is a qemu-nbd process that reads one image, and our connection to it.
// The process ends when we close it, when its only client disconnects, when ctx ends,
// and when our process dies. More connections to it, direct I/O or other kinds of
// asynchronous I/O made reading no faster where it was measured, on two cores.
type server struct {
	cmd    *exec.Cmd
	client *nbd.Client
	marks  *nbd.Client // tells of the bitmap; nil: there is none
	said   tail
	exited chan struct{} // closed when the process is gone and waited for
	forget func() bool   // stops waiting for ctx
	once   sync.Once
}

const startTimeout = 30 * time.Second

// serveWritable starts a process that changes the image whose locks are lock's. It ends
// after the connection, and like any other when we die: see Held.Mend.
func serveWritable(ctx context.Context, layers []layer, lock *os.File) (*server, error) {
	return serveAs(ctx, layers, service{held: true, lock: lock})
}

// service says how an image is served.
type service struct {
	held bool     // the locks on the image itself are ours: none are to be taken
	lock *os.File // whose locks the process inherits; nil: it only reads

	bitmap string // that is told of; "": none
}

func (s service) options() []string {
	if s.lock == nil {
		if s.bitmap != "" {
			return []string{"--read-only", "--shared=2", "--bitmap=" + s.bitmap}
		}
		return []string{"--read-only", "--shared=1"}
	}
	return []string{"--shared=1", "--discard=unmap"}
}

func serveAs(ctx context.Context, layers []layer, how service) (_ *server, err error) {
	folder, err := socketFolder()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }() // the connection outlives the socket's name
	socket := filepath.Join(folder, "nbd")
	s, err := start(layers, socket, how)
	if err != nil {
		return nil, err
	}
	if err = s.connect(ctx, socket); err == nil && how.bitmap != "" {
		err = s.connectMarks(ctx, socket, "qemu:dirty-bitmap:"+how.bitmap)
	}
	if err != nil {
		s.close()
		return nil, s.explain(err)
	}
	s.forget = context.AfterFunc(ctx, func() {
		if how.lock == nil {
			s.end()
			return
		}
		s.client.Close() // it ends by itself then, and in good order
	})
	return s, nil
}

// socketFolder makes a folder that only we may look into, with a name short
// enough for the address of a socket.
func socketFolder() (string, error) {
	parent := os.TempDir()
	if len(parent) > 70 {
		parent = "/tmp"
	}
	return os.MkdirTemp(parent, "holdfast-")
}

// start runs qemu-nbd on files that we have opened: whatever their names lead
// to by now, it reads those that were checked.
func start(layers []layer, socket string, how service) (*server, error) {
	tool, err := exec.LookPath("qemu-nbd")
	if err != nil {
		return nil, fmt.Errorf("qcow2 images are read by qemu-nbd: %w (it is in the package qemu-utils)", err)
	}
	const firstExtra = 3 // descriptor of the first of ExtraFiles
	text, err := json.Marshal(describe(layers, firstExtra, how))
	if err != nil {
		return nil, err
	}
	s := &server{exited: make(chan struct{})}
	s.cmd = exec.Command(tool, append(how.options(), "--socket="+socket, "json:"+string(text))...)
	s.cmd.Stderr, s.cmd.Stdout = &s.said, &s.said
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true} // a Ctrl-C is for us to handle
	for _, l := range layers {
		s.cmd.ExtraFiles = append(s.cmd.ExtraFiles, l.f)
	}
	if how.lock != nil {
		s.cmd.ExtraFiles = append(s.cmd.ExtraFiles, how.lock)
	}
	started := make(chan error)
	go func() { // close waits for it
		// The death that the kernel reports to the child is this thread's.
		runtime.LockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			s.cmd.Wait()
			close(s.exited)
		}
	}()
	return s, <-started
}

// describe says, for QEMU, what layers are: every format and file is named, and the
// last has no backing file, so that nothing is taken from a header.
func describe(layers []layer, fd int, how service) map[string]any {
	driver := "file"
	if layers[0].block {
		driver = "host_device"
	}
	file := map[string]any{"driver": driver, "filename": "/proc/self/fd/" + strconv.Itoa(fd)}
	node := map[string]any{"driver": layers[0].format, "read-only": how.lock == nil, "file": file}
	if how.held {
		file["locking"] = "off"
	} else {
		node["force-share"] = true // QEMU's locks let a machine start while we read
	}
	switch {
	case len(layers) > 1:
		node["backing"] = describe(layers[1:], fd+1, service{})
	case layers[0].format == formatQcow2:
		node["backing"] = nil
	}
	return node
}

// connectMarks makes the connection that tells of the bitmap: one of its own, so that
// the server need not find out what is allocated where nothing changed.
func (s *server) connectMarks(ctx context.Context, socket, name string) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("qemu-nbd did not answer in time"))
	defer cancel()
	s.marks, err = nbd.Dial(ctx, socket, nbd.Options{Contexts: []string{name}})
	if err == nil && len(s.marks.Contexts()) != 1 {
		err = errors.New("qemu-nbd does not tell of the bitmap")
	}
	return err
}

// connect waits for the socket and enters the export.
func (s *server) connect(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("qemu-nbd did not open its socket in time"))
	defer cancel()
	for {
		client, err := nbd.Dial(ctx, socket, nbd.Options{Contexts: []string{nbd.BaseAllocation}})
		switch {
		case err == nil && len(client.Contexts()) == 0:
			client.Close()
			return errors.New("qemu-nbd does not tell data from holes: it is too old")
		case err == nil:
			s.client = client
			return nil
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED):
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.exited:
			return errors.New("qemu-nbd ended at once")
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// end kills the process: calls in progress fail.
func (s *server) end() {
	s.once.Do(func() { s.cmd.Process.Kill() })
}

// close ends the process and the connection and waits for both.
func (s *server) close() error {
	if s.forget != nil {
		s.forget()
	}
	var err error
	if s.client != nil {
		err = s.client.Close()
	}
	if s.marks != nil {
		err = errors.Join(err, s.marks.Close())
	}
	s.end()
	<-s.exited
	return err
}

// explain adds what the process said before it ended.
func (s *server) explain(err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-s.exited:
		if said := s.said.String(); said != "" {
			return fmt.Errorf("%w (qemu-nbd: %s)", err, said)
		}
	default:
	}
	return err
}

// tail keeps the last of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailLength = 2048

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if extra := len(t.b) - tailLength; extra > 0 {
		t.b = bytes.Clone(t.b[extra:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(strings.Join(strings.Fields(string(t.b)), " "), "?")
}
