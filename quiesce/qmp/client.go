package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// MaxMessage is the longest message taken from QEMU, in bytes.
	MaxMessage = 64 << 20

	greetingTimeout = 5 * time.Second
	commandTimeout  = 60 * time.Second // where the context has no earlier deadline
	sendTimeout     = 20 * time.Second
	maxEvents       = 256
	maxEventBytes   = 64 << 10
)

// Client is a connection to a monitor. All methods are safe for concurrent use.
type Client struct {
	path     string
	conn     *net.UnixConn
	peer     unix.Ucred
	greeting Greeting
	events   chan Event
	ended    chan struct{} // closed when the receiver is gone

	sending sync.Mutex // held for the write of one command

	mu      sync.Mutex
	pending map[uint64]*call // by id
	id      uint64           // the last one used
	dropped int
	err     error // why the connection ended; nothing is pending once it is set
	closing bool
}

// call is one command that waits for its answer.
type call struct {
	reply json.RawMessage // once done
	err   error
	done  chan struct{}
}

// Event is something that QEMU says by itself.
type Event struct {
	Name string
	Data json.RawMessage
	Time time.Time // the host's clock, as QEMU saw it; zero when it did not say
}

// Greeting is what QEMU says of itself.
type Greeting struct {
	Major, Minor, Micro int
	Package             string // the distribution's version; may be empty
}

// Dial connects to the monitor behind a Unix socket, waits for its greeting and
// makes it take commands. ctx bounds that, which also has a limit of its own; it does
// not bound the client's life. Errors: ErrBusy, fs.ErrNotExist,
// syscall.ECONNREFUSED (nobody listens any more).
func Dial(ctx context.Context, socket string) (*Client, error) {
	c, err := dial(ctx, socket, greetingTimeout)
	if err != nil {
		return nil, fmt.Errorf("connect to monitor %s: %w", socket, err)
	}
	return c, nil
}

func dial(ctx context.Context, socket string, patience time.Duration) (*Client, error) {
	d := net.Dialer{Timeout: patience}
	conn, err := d.DialContext(ctx, "unix", socket)
	if errors.Is(err, unix.EAGAIN) { // others wait in the socket's queue already
		return nil, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	if err != nil {
		return nil, err
	}
	c := &Client{
		path: socket, conn: conn.(*net.UnixConn), events: make(chan Event, maxEvents),
		ended: make(chan struct{}), pending: make(map[uint64]*call),
	}
	in := newInput(c.conn, MaxMessage)
	if err := c.greet(ctx, in, patience); err != nil {
		conn.Close()
		return nil, err
	}
	go c.receive(in) // Close waits for it
	if err := c.Do(ctx, "qmp_capabilities", nil, nil); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// greet reads the greeting, and who it is that greets.
func (c *Client) greet(ctx context.Context, in *input, patience time.Duration) error {
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { c.conn.Close() })
	m, err := in.next()
	if !stop() {
		return context.Cause(ctx)
	}
	var late net.Error
	switch {
	case errors.As(err, &late) && late.Timeout():
		return ErrBusy
	case err != nil:
		return fmt.Errorf("no greeting: %w", err)
	case m.Greeting == nil:
		return fmt.Errorf("%w: it does not begin with a greeting", ErrProtocol)
	}
	v := m.Greeting.Version
	c.greeting = Greeting{Major: v.QEMU.Major, Minor: v.QEMU.Minor, Micro: v.QEMU.Micro, Package: v.Package}
	if err := c.conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	return c.identify()
}

func (c *Client) identify() error {
	raw, err := c.conn.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	if e := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); e != nil {
		return e
	}
	if err == nil {
		c.peer = *cred
	}
	return err
}

// Greeting is what QEMU said of itself when the connection was made.
func (c *Client) Greeting() Greeting { return c.greeting }

// Peer is the process that made the socket, as the kernel knows it: QEMU, unless it
// was handed the socket by another process.
func (c *Client) Peer() (pid, uid, gid int) {
	return int(c.peer.Pid), int(c.peer.Uid), int(c.peer.Gid)
}

// Events yields what QEMU says by itself, in order. At most a few hundred wait to be
// fetched; of more, the new ones are dropped (see Dropped), and so are events of an absurd length. The channel is closed when
// the connection has ended.
func (c *Client) Events() <-chan Event { return c.events }

// Dropped is how many events were dropped because nobody fetched them.
func (c *Client) Dropped() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped
}

// Close ends the connection, makes pending commands return ErrClosed, and waits until
// nothing of the client runs any more. It may be called again.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	c.conn.Close()
	<-c.ended
	return nil
}
