package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"
)

// request is a command as it is sent.
type request struct {
	Execute   string          `json:"execute"`
	Arguments json.RawMessage `json:"arguments,omitempty"`
	ID        uint64          `json:"id"`
}

// encode makes a line of a command.
func encode(command string, args any, id uint64) ([]byte, error) {
	text, err := json.Marshal(args)
	if err != nil {
		return nil, err
	}
	if string(text) == "null" {
		text = nil
	}
	line, err := json.Marshal(request{command, text, id})
	return append(line, '\n'), err
}

// Do carries out a command. args becomes its arguments as JSON, nil for none; the
// answer is decoded into reply unless that is nil. It waits until ctx ends, and no
// longer than a minute where ctx has no earlier deadline. Errors: *Error, what ctx
// says, ErrGone, ErrClosed.
func (c *Client) Do(ctx context.Context, command string, args, reply any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, commandTimeout,
		fmt.Errorf("QEMU did not answer within %v", commandTimeout))
	defer cancel()
	k, id, err := c.send(ctx, command, args)
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	select {
	case <-k.done:
	case <-ctx.Done():
		c.forget(id)
		return fmt.Errorf("%s: %w", command, context.Cause(ctx))
	}
	var refusal *Error
	switch {
	case errors.As(k.err, &refusal):
		refusal.Command = command
		return refusal
	case k.err != nil:
		return fmt.Errorf("%s: %w", command, k.err)
	case reply == nil:
		return nil
	}
	if err := json.Unmarshal(k.reply, reply); err != nil {
		return fmt.Errorf("%s: answer of QEMU is not as expected: %w", command, err)
	}
	return nil
}

// send notes a command as pending and writes it.
func (c *Client) send(ctx context.Context, command string, args any) (*call, uint64, error) {
	if ctx.Err() != nil {
		return nil, 0, context.Cause(ctx)
	}
	k := &call{done: make(chan struct{})}
	c.mu.Lock()
	if c.err != nil || c.closing {
		defer c.mu.Unlock()
		if c.closing {
			return nil, 0, ErrClosed
		}
		return nil, 0, c.err
	}
	c.id++
	id := c.id
	c.pending[id] = k
	c.mu.Unlock()
	line, err := encode(command, args, id)
	if err != nil {
		c.forget(id)
		return nil, 0, err
	}
	c.write(line)
	return k, id, nil
}

// write sends one whole command. After half of one nothing can follow: the
// receiver notices that the connection was closed, and ends all commands.
func (c *Client) write(line []byte) {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.conn.SetWriteDeadline(time.Now().Add(sendTimeout))
	if _, err := c.conn.Write(line); err != nil {
		c.conn.Close()
	}
}

func (c *Client) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, id)
}

// receive takes messages in until the connection ends; then it ends every command.
func (c *Client) receive(in *input) {
	defer close(c.ended)
	defer close(c.events)
	var err error
	for err == nil {
		var m *message
		if m, err = in.next(); err == nil {
			c.take(m)
		}
	}
	c.conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closing:
		err = ErrClosed
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		err = ErrGone
	default:
		err = fmt.Errorf("%w: %w", ErrGone, err)
	}
	c.err = err
	for id, k := range c.pending {
		delete(c.pending, id)
		k.err = err
		close(k.done)
	}
}

// take hands a message to whom it is for. Answers that nobody waits for any more
// are dropped.
func (c *Client) take(m *message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case m.Event != "" && len(m.Event)+len(m.Data) > maxEventBytes:
		c.dropped++
	case m.Event != "":
		select {
		case c.events <- m.event():
		default:
			c.dropped++
		}
	case m.ID == nil:
	case c.pending[*m.ID] != nil:
		k := c.pending[*m.ID]
		delete(c.pending, *m.ID)
		k.reply = m.Return
		if m.Error != nil {
			k.err = &Error{Class: m.Error.Class, Desc: m.Error.Desc[:min(len(m.Error.Desc), maxDesc)]}
		} else if m.Return == nil {
			k.err = fmt.Errorf("%w: an answer that is neither a result nor an error", ErrProtocol)
		}
		close(k.done)
	}
}
