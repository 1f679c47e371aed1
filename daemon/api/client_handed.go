package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
)

// startHanded queues a job with open files, over a connection of its own. The daemon has them when it sees the
// request, and this process has them no more.
func (c *Client) startHanded(ctx context.Context, r JobRequest) (Job, error) {
	h := r.Handed()
	defer h.Close()
	switch n := len(h.Files); {
	case c.socket == "":
		return Job{}, fmt.Errorf("open files go to a daemon of this host alone, and %s is reached over the network", c.where)
	case n > MostHanded:
		return Job{}, fmt.Errorf("%d open files are too many: at most %d go with a request", n, MostHanded)
	}
	t := &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := c.dialer.DialContext(ctx, "unix", c.socket)
			if err != nil {
				return nil, err
			}
			return &handingConn{Conn: conn, handed: h}, nil
		}}
	defer t.CloseIdleConnections()
	one := *c
	one.http = &http.Client{Transport: t, CheckRedirect: c.http.CheckRedirect}
	return do[Job](ctx, &one, startCall(r))
}

func startCall(r JobRequest) call {
	return call{method: http.MethodPost, path: []string{"jobs"}, body: r}
}

// handingConn sends open files with the first byte that is written to it, and closes them before it
// sends the second: who looks for users of a device then does not find this process.
type handingConn struct {
	net.Conn
	handed *Handed
	once   sync.Once
}

// Write is part of net.Conn.
func (c *handingConn) Write(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	c.once.Do(func() {
		fds := make([]int, len(c.handed.Files))
		for i, f := range c.handed.Files {
			fds[i] = int(f.Fd())
		}
		n, _, err = c.Conn.(*net.UnixConn).WriteMsgUnix(b[:1], syscall.UnixRights(fds...), nil)
		c.handed.Close()
	})
	if err != nil || n == len(b) {
		return n, err
	}
	more, err := c.Conn.Write(b[n:])
	return n + more, err
}
