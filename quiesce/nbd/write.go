package nbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// Commands that change an export.
const (
	cmdWrite       = 1
	cmdFlush       = 3
	cmdTrim        = 4
	cmdWriteZeroes = 6
)

// Transmission flags that say what a server can do for a writer, see [Client.Flags].
const (
	FlagFlush       = 1 << 2
	FlagTrim        = 1 << 5
	FlagWriteZeroes = 1 << 6
)

// patience is how long a server may keep a writer waiting for one answer: storage
// behind it may be slow or recovering, but not for ever.
const patience = 2 * time.Minute

// maxZeroes is the longest range zeroed or trimmed by one request: a server that
// really writes zeros answers within patience.
const maxZeroes = 64 << 20

// ErrReadOnly is returned by writes to an export that is read-only.
var ErrReadOnly = errors.New("export is read-only")

// WriteAt is io.WriterAt: nothing is durable before [Client.Flush]. Writes that do
// not fit the server's smallest block read what is around them first; no other write may touch
// that block meanwhile.
func (c *Client) WriteAt(p []byte, off int64) (int, error) {
	if err := c.mayWrite(off, int64(len(p))); err != nil {
		return 0, c.failed("write", int64(len(p)), off, err)
	}
	for done := 0; done < len(p); {
		n, err := c.writeSome(p[done:], off+int64(done))
		if err != nil {
			return done, c.failed("write", int64(len(p)), off, err)
		}
		done += n
	}
	return len(p), nil
}

// writeSome writes the beginning of p: whole blocks, or a part of one.
func (c *Client) writeSome(p []byte, off int64) (int, error) {
	head := off % c.minBlock
	if head == 0 && (int64(len(p)) >= c.minBlock || off+int64(len(p)) == c.size) {
		n := min(int64(len(p)), c.maxRequest)
		if off+n < c.size {
			n -= n % c.minBlock
		}
		return int(n), c.change(&call{kind: cmdWrite, offset: off, length: uint32(n), data: p[:n:n]})
	}
	whole := make([]byte, min(c.minBlock, c.size-(off-head)))
	if err := c.read(whole, off-head); err != nil {
		return 0, err
	}
	n := copy(whole[head:], p)
	return n, c.change(&call{kind: cmdWrite, offset: off - head, length: uint32(len(whole)), data: whole})
}

// Zero makes a range read as zeros. The server may give its space back. Where it
// cannot do that by itself, zeros are written.
func (c *Client) Zero(off, length int64) error {
	if err := c.mayWrite(off, length); err != nil {
		return c.failed("zero", length, off, err)
	}
	end := off + length
	for off < end {
		n := min(end-off, maxZeroes)
		if head := off % c.minBlock; head != 0 {
			n = min(n, c.minBlock-head)
		} else if n >= c.minBlock {
			n -= n % c.minBlock
		}
		if err := c.zeroSome(off, n); err != nil {
			return c.failed("zero", n, off, err)
		}
		off += n
	}
	return nil
}

func (c *Client) zeroSome(off, n int64) error {
	whole := off%c.minBlock == 0 && (n%c.minBlock == 0 || off+n == c.size)
	if whole && c.flags&FlagWriteZeroes != 0 {
		err := c.change(&call{kind: cmdWriteZeroes, offset: off, length: uint32(n)})
		if !errors.Is(err, syscall.EOPNOTSUPP) && !errors.Is(err, syscall.EINVAL) {
			return err
		}
	}
	for n > 0 {
		done, err := c.writeSome(noughts[:min(n, int64(len(noughts)))], off)
		if err != nil {
			return err
		}
		off, n = off+int64(done), n-int64(done)
	}
	return nil
}

var noughts [256 << 10]byte

// Trim tells the server that a range is of no use any more; what is read from it
// afterwards is not said. A server that cannot do that is not asked.
func (c *Client) Trim(off, length int64) error {
	if err := c.mayWrite(off, length); err != nil || c.flags&FlagTrim == 0 {
		return err
	}
	for end := off + length; off < end; {
		n := min(end-off, maxZeroes)
		if err := c.change(&call{kind: cmdTrim, offset: off, length: uint32(n)}); err != nil {
			return c.failed("trim", n, off, err)
		}
		off += n
	}
	return nil
}

// Flush makes all writes that returned durable. An export that offers no flush has
// nothing to wait for.
func (c *Client) Flush() error {
	if c.flags&FlagFlush == 0 {
		return nil
	}
	if err := c.change(&call{kind: cmdFlush}); err != nil {
		return fmt.Errorf("flush nbd export %q on %s: %w", c.name, c.path, err)
	}
	return nil
}

func (c *Client) mayWrite(off, length int64) error {
	switch {
	case c.flags&FlagReadOnly != 0:
		return ErrReadOnly
	case off < 0 || length < 0 || length > c.size || off > c.size-length:
		return fmt.Errorf("%w: the export ends at %d", io.ErrShortWrite, c.size)
	}
	return nil
}

func (c *Client) failed(what string, length, off int64, err error) error {
	return fmt.Errorf("%s %d bytes at %d of nbd export %q on %s: %w", what, length, off, c.name, c.path, err)
}

// change sends a call that changes the export and waits for its answer. A server
// that does not answer loses the connection: only then is the call's memory ours again.
func (c *Client) change(k *call) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.patience)
	defer cancel()
	if err := c.start(ctx, k); err != nil {
		return err
	}
	select {
	case <-k.done:
		return k.err
	case <-ctx.Done():
		c.conn.Close()
		<-k.done
		return fmt.Errorf("no answer within %v: %w", c.patience, context.DeadlineExceeded)
	}
}

// transmit sends a request and the data that goes with it. The caller holds sending.
func (c *Client) transmit(k *call, cookie uint64) error {
	header := appendRequest(nil, k.flags, k.kind, cookie, k.offset, k.length)
	if len(k.data) == 0 {
		_, err := c.conn.Write(header)
		return err
	}
	// A server that stops listening in the middle must not hold everybody up.
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.patience)); err != nil {
		return err
	}
	if c.isClosing() { // Close set a shorter deadline, and waits for us
		return ErrClosed
	}
	buffers := net.Buffers{header, k.data}
	_, err := buffers.WriteTo(c.conn)
	return err
}

func (c *Client) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}
