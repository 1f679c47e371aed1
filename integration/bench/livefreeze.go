package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/integration/guest"
	"github.com/holdfast-backup/holdfast/quiesce/qga"
)

const (
	freezeRounds = 7
	freezeLimit  = 10 * time.Second // of a backup, unless told otherwise
)

// frozen is how long a real guest with two disks is frozen by a backup, beside a freeze, a
// transaction and a thaw alone. Both pass through a relay that looks at the clock.
func (b *bench) frozen(ctx context.Context) (err error) {
	if !b.haveQEMU() {
		return nil
	}
	b.say("freeze: starting a guest")
	files, err := guest.Find()
	if err != nil {
		return err
	}
	g, err := b.startGuest(ctx, files)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	v, err := b.newVault(ctx, "vault")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.remove()) }()
	if err := v.protect(ctx, g.qemuVM, "--qga", g.relay.path, "--consistency", "filesystem"); err != nil {
		return err
	}
	var ours, bare []time.Duration
	f := &freezing{b: b, v: v, g: g, mode: "scan"}
	for round := range freezeRounds + 1 {
		// In turn, and with as long to write in between: a freeze brings home what is not yet.
		steps := []func(context.Context) error{f.alone, f.byBackup}
		if round%2 == 1 {
			slices.Reverse(steps)
		}
		for _, step := range steps {
			time.Sleep(time.Second)
			if err := step(ctx); err != nil {
				return err
			}
		}
		b.say("  frozen by a backup %.1f ms (it says %.1f), by freeze, transaction and thaw alone %.1f ms",
			f.ours.Seconds()*1000, f.said, f.bare.Seconds()*1000)
		if round > 0 { // the first finds nothing in any cache
			ours, bare = append(ours, f.ours), append(bare, f.bare)
		}
	}
	const group = "freeze of a guest with two disks"
	b.table.compare(group, fmt.Sprintf("median of %d", freezeRounds), "ms", millis(ours, 50), millis(bare, 50), "freeze, transaction, thaw alone", noTarget)
	b.table.alone(group, "more than that", "ms", millis(ours, 50)-millis(bare, 50), atMost(20))
	b.table.alone(group, "longest", "ms", millis(ours, 100), atMost(float64(freezeLimit.Milliseconds())))
	return nil
}

// freezing is one round.
type freezing struct {
	b    *bench
	v    *vault
	g    *liveGuest
	mode string // how disks are read by the next backup

	ours, bare time.Duration
	said       float64 // by the point, in milliseconds
}

// byBackup makes a point.
func (f *freezing) byBackup(ctx context.Context) error {
	_, m, err := f.v.backUpMachine(ctx, f.mode)
	if err != nil {
		return err
	}
	f.mode = "bitmap"
	f.ours, err = f.g.relay.last()
	if err != nil || m.Point.Quiesced == nil {
		return errors.Join(err, fmt.Errorf("the guest was not frozen: %s", m.Point.ConsistencyReason))
	}
	f.said = m.Point.Quiesced.WindowMS
	return nil
}

// alone does to the guest what must be done, and nothing else.
func (f *freezing) alone(ctx context.Context) error {
	agent := qga.New(f.g.relay.path)
	defer agent.Close()
	if err := agent.Ping(ctx); err != nil {
		return err
	}
	err := f.g.bareJobs(ctx, f.b.store, f.g.disks, func(take func() error) error {
		if _, err := agent.Freeze(ctx, nil); err != nil {
			return err
		}
		taken := take()
		_, err := agent.Thaw(context.WithoutCancel(ctx))
		if taken != nil {
			return errors.Join(taken, err)
		}
		return errors.Join(err, f.g.endBareJobs(ctx, f.g.disks))
	})
	if err != nil {
		return err
	}
	f.bare, err = f.g.relay.last()
	return err
}

// liveGuest is a QEMU with a guest whose agent is reached through a relay.
type liveGuest struct {
	*qemuVM
	relay *relay
	disks map[string]int64
}

func (b *bench) startGuest(ctx context.Context, files guest.Files) (_ *liveGuest, err error) {
	folder := filepath.Join(b.store, "guest")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	root, data := filepath.Join(folder, "root.qcow2"), filepath.Join(folder, "data.raw")
	for _, args := range [][]string{
		{"qemu-img", "convert", "-f", "raw", "-O", "qcow2", files.Root, root},
		{"truncate", "-s", "256M", data},
		{"mkfs.ext4", "-q", "-L", "hfdata", data},
	} {
		if _, err := measure(ctx, command{args: args}); err != nil {
			return nil, err
		}
	}
	socket := filepath.Join(folder, "qga")
	args := append(diskArgs("vda", "qcow2", root), diskArgs("vdb", "raw", data)...)
	q, err := b.startQEMU(ctx, append(args, "-m", "512", "-cpu", "max", "-kernel", files.Kernel, "-initrd", files.Initrd, "-append", guest.Append,
		"-chardev", "socket,path="+socket+",server=on,wait=off,id=qga0", "-device", "virtio-serial",
		"-device", "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0")...)
	if err != nil {
		return nil, err
	}
	g := &liveGuest{qemuVM: q, disks: map[string]int64{"vda": 2 << 30, "vdb": 256 << 20}}
	if g.relay, err = startRelay(filepath.Join(q.folder, "relay"), socket); err != nil {
		return nil, errors.Join(err, q.end())
	}
	if err := g.wait(ctx); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// wait waits until the guest's agent answers.
func (g *liveGuest) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 6*time.Minute, errors.New("the guest's agent does not answer"))
	defer cancel()
	for ctx.Err() == nil {
		try, end := context.WithTimeout(ctx, 2*time.Second)
		agent := qga.New(g.relay.path)
		err := agent.Ping(try)
		agent.Close()
		end()
		if err == nil {
			return nil
		}
		time.Sleep(300 * time.Millisecond)
	}
	return context.Cause(ctx)
}

func (g *liveGuest) close() error { return errors.Join(g.end(), g.relay.close()) }

// relay stands before an agent's socket and notes from when on the guest was told to
// freeze until it said that it is thawed.
type relay struct {
	path, to string
	listener net.Listener
	serving  sync.WaitGroup

	mu      sync.Mutex
	began   time.Time
	thawing bool
	window  time.Duration
}

func startRelay(path, to string) (*relay, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	r := &relay{path: path, to: to, listener: l}
	r.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.serve(c)
		}
	})
	return r, nil
}

// serve passes one client on; the agent takes one at a time as well.
func (r *relay) serve(client net.Conn) {
	defer client.Close()
	agent, err := net.Dial("unix", r.to)
	if err != nil {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		pass(client, agent, r.answered)
		client.Close()
	})
	pass(agent, client, r.asked)
	agent.Close()
	back.Wait()
}

// pass copies until an end, and shows each piece first.
func pass(to, from net.Conn, look func([]byte)) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		look(buf[:n])
		if _, e := to.Write(buf[:n]); err != nil || e != nil {
			return
		}
	}
}

func (r *relay) asked(p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if bytes.Contains(p, []byte(`"guest-fsfreeze-freeze"`)) {
		r.began, r.window = time.Now(), 0
	}
	r.thawing = r.thawing || bytes.Contains(p, []byte(`"guest-fsfreeze-thaw"`)) && !r.began.IsZero()
}

func (r *relay) answered(p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.thawing && bytes.Contains(p, []byte("return")) {
		r.window, r.thawing, r.began = time.Since(r.began), false, time.Time{}
	}
}

// last is how long the last freeze took.
func (r *relay) last() (time.Duration, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.window == 0 {
		return 0, errors.New("no freeze passed that ended")
	}
	w := r.window
	r.window = 0
	return w, nil
}

func (r *relay) close() error {
	err := r.listener.Close()
	r.serving.Wait()
	return err
}
