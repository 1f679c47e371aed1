package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/daemon/access"
)

// ErrAnswered says that somebody answers on a Unix socket already.
var ErrAnswered = errors.New("another daemon answers there")

// ListenUnix opens the Unix socket at path, in a folder that is there. A socket that nobody
// answers on is replaced; anything else at path is an error. The socket is for
// group, 0660, where there is such a group and this process may give it the socket, else
// for this process's user alone, 0600. Nobody may open it before that is set.
func ListenUnix(path, group string) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	// Bound in a folder that nobody else may enter, and moved when its mode is right.
	dir, err := os.MkdirTemp(filepath.Dir(path), ".hf")
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	defer os.RemoveAll(dir)
	own := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: own, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	err = openTo(own, group)
	if err == nil {
		err = os.Rename(own, path)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, errors.Join(err, l.Close()))
	}
	return &unixListener{UnixListener: l, path: path}, nil
}

// removeStale removes a socket that nobody answers on.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("something else is there (%s); remove it if it is not needed", info.Mode().Type())
	}
	c, err := net.DialTimeout("unix", path, 3*time.Second)
	if err == nil {
		c.Close()
		return ErrAnswered
	}
	if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w, or may: %w", ErrAnswered, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// openTo gives a socket to a group, where that is possible.
func openTo(path, group string) error {
	g, err := user.LookupGroup(group)
	if err != nil {
		return os.Chmod(path, 0o600) // no such group: it stays for its owner
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return err
	}
	if err := os.Chown(path, -1, gid); errors.Is(err, fs.ErrPermission) {
		return os.Chmod(path, 0o600)
	} else if err != nil {
		return err
	}
	return os.Chmod(path, 0o660)
}

// unixListener removes its socket when it is closed, unless another has taken its place.
type unixListener struct {
	*net.UnixListener
	path string
	once sync.Once
}

func (l *unixListener) Close() error {
	err := l.UnixListener.Close()
	l.once.Do(func() {
		// The address that it was bound to is another; only one that refuses is ours.
		if c, dialErr := net.DialTimeout("unix", l.path, time.Second); dialErr == nil {
			c.Close()
		} else if errors.Is(dialErr, syscall.ECONNREFUSED) {
			os.Remove(l.path)
		}
	})
	return err
}

// ListenTLS opens a TCP port with TLS 1.2 or later. The files of the certificate (with its
// chain) and of its key are read again when they change; what cannot be used then is
// said in the log, and the certificate that was there goes on.
func ListenTLS(addr, cert, key string, log *slog.Logger) (net.Listener, error) {
	pair := &keyPair{cert: cert, key: key, log: log}
	if err := pair.load(); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	pair.expiry(time.Now())
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return &tlsListener{l, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.get, NextProtos: []string{"http/1.1"}}}, nil
}

// tlsListener is a listener whose connections are to speak TLS. They are counted before, so that the library sees that
// they do, and tells who does not what is wrong.
type tlsListener struct {
	net.Listener
	config *tls.Config
}

// counted counts the connections of a listener.
func (s *Server) counted(l net.Listener) net.Listener {
	if t, ok := l.(*tlsListener); ok {
		return tls.NewListener(newLimited(t.Listener, s.limits.Connections, s.limits.PerClient), t.config)
	}
	return newLimited(l, s.limits.Connections, s.limits.PerClient)
}

// Serve answers on listeners until ctx ends or one of them fails, and then gives
// requests that are on their way a few seconds. It closes the listeners. What lasts is ended
// at once, followers of jobs apart: they hear what became of a job that ended just now.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	lasting, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: s.limits.Arrive, IdleTimeout: s.limits.Idle, MaxHeaderBytes: 32 << 10,
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return lasting },
		ConnContext: s.connected,
		// One request at a time on each connection: the number of connections bounds all.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		g.Go(func() error {
			err := server.Serve(s.counted(l))
			if errors.Is(err, http.ErrServerClosed) {
				return nil
			}
			return fmt.Errorf("answer on %s: %w", l.Addr(), err)
		})
	}
	g.Go(func() error {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		s.follow.close()
		s.over.close()
		s.windows.gate.close()
		if server.Shutdown(grace) != nil {
			end()
			return server.Close()
		}
		return nil
	})
	return g.Wait()
}

// connected notes who a connection's peer is, and whether open files are taken from it.
func (s *Server) connected(ctx context.Context, c net.Conn) context.Context {
	counted, ok := c.(*countedConn)
	if !ok || counted.peer == nil {
		return ctx
	}
	p := peer{local: true, id: s.c.Access.Identify(*counted.peer)}
	if u, ok := counted.Conn.(*net.UnixConn); ok && mayHand(s.c.Access.Peer(p.id)) {
		counted.hand = &handover{conn: u, owner: counted.peer.UID, held: &s.held}
		p.hand = counted.hand
	}
	return context.WithValue(ctx, peerKey, p)
}

// mayHand tells whether open files are taken from somebody: to be backed up, or to be read into.
func mayHand(p *access.Principal) bool { return p.MaySome(access.Backup) || p.MaySome(access.Read) }

// credentials asks for the peer of a Unix socket; nil for another connection.
func credentials(c net.Conn) (*access.PeerCred, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, nil
	}
	p, err := access.Credentials(u)
	return &p, err
}
