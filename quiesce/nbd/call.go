package nbd

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// call is one request and what came back so far. Until it is done it belongs
// to the receiver.
type call struct {
	kind    uint16
	flags   uint16
	offset  int64
	length  uint32
	buf     []byte              // of a read; len is length
	data    []byte              // of a write
	got     pieces              // of buf that came
	extents map[uint32][]Extent // of a block status, by id of the context
	err     error               // what the server said
	errors  int                 // how often it said so
	done    chan struct{}       // closed when the call is over
}

// Extent is a range of an export about which a context says one thing.
type Extent struct {
	Offset, Length int64 // bytes
	Flags          uint32
}

func appendRequest(b []byte, flags, kind uint16, cookie uint64, offset int64, length uint32) []byte {
	b = be.AppendUint32(b, magicRequest)
	b = be.AppendUint16(b, flags)
	b = be.AppendUint16(b, kind)
	b = be.AppendUint64(b, cookie)
	b = be.AppendUint64(b, uint64(offset))
	return be.AppendUint32(b, length)
}

// start sends a call. Its done is closed later, by the receiver, whatever
// happens; where start fails the call was never sent.
func (c *Client) start(ctx context.Context, k *call) error {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.ended:
		return c.ending()
	}
	k.done = make(chan struct{})
	c.mu.Lock()
	if c.err != nil || c.closing {
		c.mu.Unlock()
		<-c.slots
		return c.ending()
	}
	c.cookie++
	cookie := c.cookie
	c.pending[cookie] = k
	if len(c.pending) == 1 {
		c.progress()
	}
	c.mu.Unlock()

	c.sending.Lock()
	err := c.transmit(k, cookie)
	c.sending.Unlock()
	if err != nil {
		c.mu.Lock()
		if c.unsent == nil {
			c.unsent = err
		}
		c.mu.Unlock()
		c.conn.Close() // the receiver notices, and ends this call with the others
	}
	return nil
}

// ending is the error for calls on a connection that has ended.
func (c *Client) ending() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || c.err == nil {
		return ErrClosed
	}
	return c.err
}

// ReadAt is io.ReaderAt. Long reads are asked for in pieces, all at once. It
// returns early only when the connection ends, by Close for example, or by a server
// that stalls.
func (c *Client) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read nbd export %q at %d: negative offset", c.name, off)
	}
	if off >= c.size {
		return 0, io.EOF
	}
	want := p[:min(int64(len(p)), c.size-off)]
	whole := c.readFlags() != 0
	err := c.readAligned(want, off)
	var said *ServerError
	if whole && errors.As(err, &said) && said.Code == codeOverflow {
		c.inPieces.Store(true)
		err = c.readAligned(want, off)
	}
	if err != nil {
		return 0, fmt.Errorf("read %d bytes at %d of nbd export %q on %s: %w", len(want), off, c.name, c.path, err)
	}
	if len(want) < len(p) {
		return len(want), io.EOF
	}
	return len(want), nil
}

// readFlags asks for answers in one piece where the server can: it then need not find out
// first where holes are, of which who reads has asked before. Servers may refuse that for long reads.
func (c *Client) readFlags() uint16 {
	if c.structured && c.flags&FlagSendWhole != 0 && !c.inPieces.Load() {
		return requestWhole
	}
	return 0
}

// readAligned reads p, through a buffer of its own where the server wants
// requests aligned and this one is not.
func (c *Client) readAligned(p []byte, off int64) error {
	head := off % c.minBlock
	rest := (head + int64(len(p))) % c.minBlock
	if head == 0 && rest == 0 {
		return c.read(p, off)
	}
	for len(p) > 0 {
		head := off % c.minBlock
		n := min(int64(len(p)), c.maxRequest-head)
		whole := make([]byte, min((head+n+c.minBlock-1)/c.minBlock*c.minBlock, c.size-off+head))
		if err := c.read(whole, off-head); err != nil {
			return err
		}
		copy(p, whole[head:head+n])
		p, off = p[n:], off+n
	}
	return nil
}

// read fills p, which lies within the export. It returns only when the
// receiver has let go of p.
func (c *Client) read(p []byte, off int64) error {
	var calls []*call
	var failed error
	for len(p) > 0 {
		n := min(int64(len(p)), c.maxRequest)
		k := &call{kind: cmdRead, flags: c.readFlags(), offset: off, length: uint32(n), buf: p[:n:n]}
		if failed = c.start(context.Background(), k); failed != nil {
			break
		}
		calls = append(calls, k)
		p, off = p[n:], off+n
	}
	for _, k := range calls {
		<-k.done
		if failed == nil {
			failed = k.err
		}
	}
	return failed
}

// maxStatus is the longest range asked about at once.
const maxStatus = 1 << 31

// BlockStatus asks what the contexts say of a range. For each of them it
// returns extents in order and without gaps from off on, which end at off+length or,
// where the server chose to say less, before it: ask again from there.
func (c *Client) BlockStatus(ctx context.Context, off, length int64) (map[string][]Extent, error) {
	extents, err := c.status(ctx, off, length)
	if err != nil {
		return nil, fmt.Errorf("block status of %d bytes at %d of nbd export %q on %s: %w", length, off, c.name, c.path, err)
	}
	return extents, nil
}

func (c *Client) status(ctx context.Context, off, length int64) (map[string][]Extent, error) {
	switch {
	case len(c.contexts) == 0:
		return nil, ErrNoContext
	case off < 0 || length <= 0 || length > c.size || off > c.size-length:
		return nil, errors.New("range is not within the export")
	case off%c.minBlock != 0:
		return nil, fmt.Errorf("offset is not a multiple of %d", c.minBlock)
	}
	length = min(length, maxStatus)
	if rest := length % c.minBlock; rest != 0 && off+length < c.size {
		length = min(length+c.minBlock-rest, c.size-off)
	}
	k := &call{kind: cmdBlockStatus, offset: off, length: uint32(length), extents: make(map[uint32][]Extent)}
	if err := c.start(ctx, k); err != nil {
		return nil, err
	}
	select {
	case <-k.done:
	case <-ctx.Done():
		return nil, context.Cause(ctx) // the receiver drops the answer when it comes
	}
	if k.err != nil {
		return nil, k.err
	}
	named := make(map[string][]Extent, len(k.extents))
	for id, extents := range k.extents {
		named[c.contexts[id]] = extents
	}
	return named, nil
}
