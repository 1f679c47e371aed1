package qga

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Patience is how long an agent has to answer the first word.
	Patience = 900 * time.Millisecond
	// CallTimeout bounds a call whose context has no deadline.
	CallTimeout = 30 * time.Second
)

// Agent is a connection to the agent of one guest. Calls from several
// goroutines follow one another. A connection that broke is made anew by the next
// call.
type Agent struct {
	Commands
	socket string
	turn   chan struct{} // holds one token: who has it may use what follows

	conn   net.Conn // nil: none
	reader *reader
	inStep bool // no reply to an earlier command can be outstanding
}

// Dial connects to the agent behind a Unix socket and makes sure that it
// answers: else the error is [ErrAbsent], [ErrBusy] or [ErrGone], within a second.
func Dial(ctx context.Context, socket string) (*Agent, error) {
	a := New(socket)
	if err := a.call(ctx, func() error { return nil }); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// New returns an agent that is connected to by the first call.
func New(socket string) *Agent {
	a := &Agent{socket: socket, turn: make(chan struct{}, 1)}
	a.Commands = Commands{Do: a.Do}
	return a
}

// Close ends the connection; a call in progress is waited for. Calls after it connect again.
func (a *Agent) Close() error {
	a.turn <- struct{}{}
	defer func() { <-a.turn }()
	return a.disconnect()
}

// Do sends a command with its arguments (nil: none) and decodes what it returns
// into reply (nil: dropped). The agent's refusal is an [*Error]. A command whose call timed
// out may still be obeyed later.
func (a *Agent) Do(ctx context.Context, command string, args, reply any) error {
	request, err := encode(command, args)
	if err != nil {
		return err
	}
	return a.call(ctx, func() error {
		if _, err := a.conn.Write(request); err != nil {
			return err
		}
		message, _, err := a.reader.next()
		if err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
		return Decode(command, message, reply)
	})
}

// call brings the stream into step and lets exchange send and read.
func (a *Agent) call(ctx context.Context, exchange func() error) error {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return fmt.Errorf("guest agent %s: %w", a.socket, context.Cause(ctx))
	}
	if err := a.step(ctx); err != nil {
		return fmt.Errorf("guest agent %s: %w", a.socket, err)
	}
	a.inStep = false
	stop := interruptible(ctx, a.conn)
	err := exchange()
	stop()
	var refused *Error
	if err == nil || errors.As(err, &refused) {
		a.inStep = true
		return err
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		a.disconnect()
	} else if ctx.Err() != nil {
		err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
	}
	return fmt.Errorf("guest agent %s: %w", a.socket, err)
}

// step connects where there is no connection, and asks the agent for a random id
// until it names it, where it may have something else to say.
func (a *Agent) step(ctx context.Context) error {
	if a.conn != nil && a.inStep {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	if a.conn == nil {
		if err := a.connect(limited); err != nil {
			return err
		}
	}
	stop := interruptible(limited, a.conn)
	err := a.sync()
	stop()
	switch {
	case err == nil:
		a.inStep = true
		return nil
	case !errors.Is(err, os.ErrDeadlineExceeded):
		a.disconnect()
		return fmt.Errorf("%w: %w", ErrAbsent, err)
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return context.Cause(ctx)
	case queued(a.socket):
		a.disconnect()
		return ErrBusy
	}
	return ErrAbsent
}

func (a *Agent) connect(ctx context.Context) error {
	name, done, err := address(a.socket)
	if err != nil {
		return err
	}
	defer done()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", name)
	switch {
	case err == nil:
		a.conn, a.reader, a.inStep = conn, newReader(conn), false
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w (%w)", ErrGone, err)
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w (%w)", ErrBusy, err)
	}
	return err
}

// address is a name of the socket that is short enough for connect(2), until done is called.
func address(socket string) (name string, done func(), err error) {
	const longest = 107 // bytes; unix(7)
	if len(socket) <= longest {
		return socket, func() {}, nil
	}
	dir, err := unix.Open(filepath.Dir(socket), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, ErrGone
	}
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir, filepath.Base(socket)), func() { unix.Close(dir) }, nil
}

func (a *Agent) disconnect() error {
	if a.conn == nil {
		return nil
	}
	conn := a.conn
	a.conn, a.reader, a.inStep = nil, nil, false
	return conn.Close()
}

// sync sends guest-sync-delimited and drops what comes until its answer. The
// delimiter before the command ends whatever an earlier client left unfinished.
func (a *Agent) sync() error {
	var random [8]byte
	rand.Read(random[:])
	id := int64(binary.LittleEndian.Uint64(random[:]) >> 12) // exact in a double, too
	request, err := encode("guest-sync-delimited", map[string]int64{"id": id})
	if err != nil {
		return err
	}
	if _, err := a.conn.Write(append([]byte{delimiter}, request...)); err != nil {
		return err
	}
	for {
		message, delimited, err := a.reader.next()
		if errors.Is(err, errTooLong) {
			continue // left by an earlier command; the deadline ends this
		}
		if err != nil {
			return err
		}
		var got int64
		if delimited && Decode("guest-sync-delimited", message, &got) == nil && got == id {
			return nil
		}
	}
}

// interruptible has reads and writes of conn fail once ctx ends, until stop is
// called, which waits for that.
func interruptible(ctx context.Context, conn net.Conn) (stop func()) {
	conn.SetDeadline(time.Time{})
	done := make(chan struct{})
	forget := context.AfterFunc(ctx, func() {
		defer close(done)
		conn.SetDeadline(time.Unix(1, 0))
	})
	return func() {
		if !forget() {
			<-done
		}
		conn.SetDeadline(time.Time{})
	}
}

func encode(command string, args any) ([]byte, error) {
	request := map[string]any{"execute": command}
	if args != nil {
		request["arguments"] = args
	}
	b, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("arguments of %s: %w", command, err)
	}
	return append(b, '\n'), nil
}

// Decode reads a message of the agent, the reply to command, into reply (nil:
// dropped). A refusal is an [*Error].
func Decode(command string, message []byte, reply any) error {
	var m struct {
		Return json.RawMessage `json:"return"`
		Error  *struct {
			Class string `json:"class"`
			Desc  string `json:"desc"`
		} `json:"error"`
	}
	if err := json.Unmarshal(message, &m); err != nil {
		return fmt.Errorf("%s: the guest agent's reply: %s", command, words(err.Error()))
	}
	switch {
	case m.Error != nil:
		return &Error{Command: command, Class: words(m.Error.Class), Desc: words(m.Error.Desc)}
	case m.Return == nil:
		return fmt.Errorf("%s: the guest agent's reply has neither a result nor an error", command)
	case reply == nil:
		return nil
	}
	if err := json.Unmarshal(m.Return, reply); err != nil {
		return fmt.Errorf("%s: the guest agent's reply: %s", command, words(err.Error()))
	}
	return nil
}
