package nbd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxRequest       = 1 << 20          // bytes asked for in one read
	window           = 64               // requests without an answer on one connection
	handshakeTimeout = 30 * time.Second // a server that serves one client at a time lets others wait without a word

	// DefaultStall is how long a server may leave requests without finishing any.
	DefaultStall = 60 * time.Second
)

// Options of Dial.
type Options struct {
	Export   string        // name of the export; empty is the server's default
	Contexts []string      // wanted, for example BaseAllocation; those that the export lacks are left out
	Stall    time.Duration // how long the server may finish no request while it has some; 0: DefaultStall
}

// Client is a connection to one export. All methods are safe for concurrent use.
type Client struct {
	export
	path, name string
	conn       net.Conn
	r          *bufio.Reader // the receiver's alone

	slots   chan struct{} // one for each request without an answer
	sending sync.Mutex    // held for the write of one request
	ended   chan struct{} // closed when the receiver is gone

	patience time.Duration // for one answer to a writer

	mu      sync.Mutex
	pending map[uint64]*call // by cookie
	cookie  uint64           // the last one used
	stall   stall
	err     error // why the connection ended; nothing is pending once it is set
	unsent  error // of a request that could not be sent, which ends the connection
	closing bool

	inPieces atomic.Bool // the server does not answer long reads in one piece
}

// Dial connects to the server behind the Unix socket and enters an export. ctx
// bounds the handshake, which also has a limit of its own; it does not bound the client's life.
func Dial(ctx context.Context, socket string, o Options) (*Client, error) {
	c, err := dial(ctx, socket, o)
	if err != nil {
		return nil, fmt.Errorf("connect to nbd export %q on %s: %w", o.Export, socket, err)
	}
	return c, nil
}

func dial(ctx context.Context, socket string, o Options) (*Client, error) {
	if err := checkNames(o); err != nil {
		return nil, err
	}
	conn, err := connect(ctx, socket)
	if err != nil {
		return nil, err
	}
	return enterOver(ctx, conn, socket, o)
}

func checkNames(o Options) error {
	if len(o.Export) > maxString || len(o.Contexts) > maxContexts {
		return errors.New("name too long or too many contexts")
	}
	return nil
}

// enterOver does the handshake over a connection, which it closes when that fails.
func enterOver(ctx context.Context, conn net.Conn, path string, o Options) (*Client, error) {
	c := newClient(conn)
	c.path, c.name = path, o.Export
	if o.Stall > 0 {
		c.stall.limit = o.Stall
	}
	err := shaking(ctx, conn, func() error { return c.handshake(o) })
	if err != nil {
		conn.Close()
		return nil, err
	}
	go c.receive() // Close waits for it
	return c, nil
}

func connect(ctx context.Context, socket string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	var d net.Dialer
	return d.DialContext(ctx, "unix", socket)
}

// shaking runs a handshake that ends when ctx does or time is up.
func shaking(ctx context.Context, conn net.Conn, handshake func() error) error {
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err := handshake()
	if !stop() {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}

func newClient(conn net.Conn) *Client {
	return &Client{
		export:   export{minBlock: 1, maxRequest: maxRequest},
		conn:     conn,
		r:        bufio.NewReaderSize(conn, 64<<10),
		slots:    make(chan struct{}, window),
		patience: patience,
		ended:    make(chan struct{}),
		pending:  make(map[uint64]*call),
		stall:    stall{limit: DefaultStall},
	}
}

func (c *Client) handshake(o Options) error {
	s := &shaker{c.conn, c.r}
	if err := s.greet(); err != nil {
		return err
	}
	var err error
	if c.structured, err = s.structured(); err != nil {
		return err
	}
	if c.structured && len(o.Contexts) > 0 {
		c.contexts, err = s.contexts(optSetMetaContext, o.Export, o.Contexts)
		if _, ok := err.(*refused); err != nil && !ok { // a server without contexts says no
			return err
		}
	}
	return s.enter(o.Export, &c.export)
}

// listContexts asks the server which contexts an export has, without entering it.
func listContexts(ctx context.Context, socket, exportName string) ([]string, error) {
	conn, err := connect(ctx, socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var found map[uint32]string
	err = shaking(ctx, conn, func() error {
		s := &shaker{conn, bufio.NewReader(conn)}
		if err := s.greet(); err != nil {
			return err
		}
		if _, err := s.structured(); err != nil {
			return err
		}
		if found, err = s.contexts(optListMetaContext, exportName, nil); err != nil {
			return err
		}
		return s.option(optAbort, nil, func(uint32, []byte) error { return nil })
	})
	if err != nil && found == nil {
		return nil, fmt.Errorf("list contexts of nbd export %q on %s: %w", exportName, socket, err)
	}
	return slices.Sorted(maps.Values(found)), nil
}

// Size is the export's size in bytes.
func (c *Client) Size() int64 { return c.size }

// Flags are the export's transmission flags.
func (c *Client) Flags() uint16 { return c.flags }

// Contexts are the names of the contexts that were asked for and that the
// export has, sorted.
func (c *Client) Contexts() []string { return slices.Sorted(maps.Values(c.contexts)) }

// Close ends the connection, makes pending calls return ErrClosed, and waits
// until nothing of the client runs any more. It may be called again.
func (c *Client) Close() error {
	c.mu.Lock()
	first := !c.closing
	c.closing = true
	c.mu.Unlock()
	if first {
		// A polite end, if the server takes it at once.
		c.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		c.sending.Lock()
		c.conn.Write(appendRequest(nil, 0, cmdDisconnect, 0, 0, 0))
		c.sending.Unlock()
		c.conn.Close()
	}
	<-c.ended
	return nil
}
