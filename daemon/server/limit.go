package server

import (
	"fmt"
	"net"
	"sync"

	"github.com/holdfast-backup/holdfast/daemon/access"
)

// limited is a listener that closes connections which are too many: of all, and of
// one user or address. Root is let in all the same on a Unix socket, so that nobody can keep
// an operator out.
type limited struct {
	net.Listener
	most, each int

	mu    sync.Mutex
	open  int
	count map[string]int // open connections of each client
}

func newLimited(l net.Listener, most, each int) *limited {
	return &limited{Listener: l, most: most, each: each, count: map[string]int{}}
}

// Accept returns the next connection that is not too many.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer, err := credentials(c)
		if err != nil {
			c.Close() // nobody knows who it is
			continue
		}
		client, root := access.Source(c.RemoteAddr().String()), false
		if peer != nil {
			client, root = fmt.Sprintf("user %d", peer.UID), peer.UID == 0
		}
		if !l.enter(client, root) {
			c.Close()
			continue
		}
		return &countedConn{Conn: c, peer: peer, leave: sync.OnceFunc(func() { l.leave(client) })}, nil
	}
}

func (l *limited) enter(client string, always bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !always && (l.open >= l.most || l.count[client] >= l.each) {
		return false
	}
	l.open++
	l.count[client]++
	return true
}

func (l *limited) leave(client string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.count[client]--; l.count[client] <= 0 {
		delete(l.count, client)
	}
}

// countedConn is a connection that is counted until it is closed.
type countedConn struct {
	net.Conn
	peer  *access.PeerCred // of a Unix socket
	hand  *handover        // nil: no open files are taken from the peer; set before anything is read
	leave func()
}

func (c *countedConn) Read(b []byte) (int, error) {
	if c.hand != nil {
		return c.hand.read(b)
	}
	return c.Conn.Read(b)
}

func (c *countedConn) Close() error {
	err := c.Conn.Close()
	if c.hand != nil {
		c.hand.drop()
	}
	c.leave()
	return err
}

// gate lets so many in at once, until it is closed.
type gate struct {
	most int

	mu     sync.Mutex
	inside int
	of     map[string]int // of each caller
	shut   chan struct{}  // closed with the gate; made when it is first asked for
	closed bool
}

// enter lets a caller in, if there is room: half of it at most for one of them. Who was let
// in ends when ended is closed, and calls leave.
func (g *gate) enter(who string) (ended <-chan struct{}, leave func(), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut, g.of = make(chan struct{}), map[string]int{}
	}
	if g.closed || g.inside >= g.most || g.of[who] >= (g.most+1)/2 {
		return nil, nil, false
	}
	g.inside++
	g.of[who]++
	return g.shut, sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.inside--
		if g.of[who]--; g.of[who] <= 0 {
			delete(g.of, who)
		}
	}), true
}

// close sends away who is inside, and lets nobody in any more.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut, g.of = make(chan struct{}), map[string]int{}
	}
	if !g.closed {
		g.closed = true
		close(g.shut)
	}
}

// ended is closed with the gate. Only for who was let in.
func (g *gate) ended() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut
}
