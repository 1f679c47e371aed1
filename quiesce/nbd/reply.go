package nbd

import (
	"errors"
	"fmt"
	"io"
	"net"
)

// receive takes replies in until the connection ends; then it ends every call.
func (c *Client) receive() {
	defer close(c.ended)
	var err error
	for err == nil {
		err = c.reply()
	}
	c.conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closing:
		err = ErrClosed
	case c.stall.err != nil:
		err = c.stall.err
	case c.unsent != nil && errors.Is(err, net.ErrClosed):
		err = fmt.Errorf("connection broke: %w", c.unsent)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("server closed the connection: %w", err)
	}
	c.err = err
	c.stall.stop()
	for cookie, k := range c.pending {
		k.err = err
		c.over(cookie, k)
	}
}

// over ends a call. The caller holds mu.
func (c *Client) over(cookie uint64, k *call) {
	delete(c.pending, cookie)
	c.progress()
	close(k.done)
	<-c.slots
}

// finish ends a call that was answered to its end.
func (c *Client) finish(cookie uint64, k *call) error {
	if k.err == nil {
		switch {
		case k.kind == cmdRead && !k.got.all(k.length):
			return violation("answer to a read of %d bytes at %d leaves some out", k.length, k.offset)
		case k.kind == cmdBlockStatus && len(k.extents) != len(c.contexts):
			return violation("block status for %d of %d contexts", len(k.extents), len(c.contexts))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over(cookie, k)
	return nil
}

// lookup finds the call that a reply is for.
func (c *Client) lookup(cookie uint64) (*call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.pending[cookie]
	if k == nil {
		return nil, violation("reply to request %d, which nobody waits for", cookie)
	}
	return k, nil
}

// reply takes one simple reply or one chunk of a structured reply in.
func (c *Client) reply() error {
	var b [20]byte
	if _, err := io.ReadFull(c.r, b[:16]); err != nil {
		return err
	}
	switch be.Uint32(b[:]) {
	case magicSimple:
		return c.simple(be.Uint32(b[4:]), be.Uint64(b[8:]))
	case magicChunk:
		if !c.structured {
			return violation("structured reply, which was not agreed on")
		}
		if _, err := io.ReadFull(c.r, b[16:]); err != nil {
			return err
		}
		return c.chunk(be.Uint16(b[4:]), be.Uint16(b[6:]), be.Uint64(b[8:]), be.Uint32(b[16:]))
	}
	return violation("reply begins with %x", b[:4])
}

// simple takes a simple reply in, and the data of a read that follows it.
func (c *Client) simple(code uint32, cookie uint64) error {
	k, err := c.lookup(cookie)
	if err != nil {
		return err
	}
	switch {
	case code != 0:
		k.err = &ServerError{Code: code}
	case c.structured && (k.kind == cmdRead || k.kind == cmdBlockStatus):
		return violation("simple reply where a structured one was agreed on")
	default:
		if _, err := io.ReadFull(c.r, k.buf); err != nil {
			return err
		}
		k.got.add(0, k.length)
	}
	return c.finish(cookie, k)
}

// chunk takes one chunk of a structured reply in.
func (c *Client) chunk(flags, kind uint16, cookie uint64, n uint32) error {
	k, err := c.lookup(cookie)
	if err != nil {
		return err
	}
	switch {
	case kind&chunkError != 0:
		err = c.errorChunk(k, kind, n)
	case kind == chunkNone && n == 0 && flags&chunkDone != 0:
	case kind == chunkOffsetData && k.kind == cmdRead:
		err = c.dataChunk(k, n)
	case kind == chunkOffsetHole && k.kind == cmdRead:
		err = c.holeChunk(k, n)
	case kind == chunkBlockStatus && k.kind == cmdBlockStatus:
		err = c.statusChunk(k, n)
	default:
		err = violation("chunk of type %d, %d bytes, flags %#x in answer to command %d", kind, n, flags, k.kind)
	}
	if err != nil || flags&chunkDone == 0 {
		return err
	}
	return c.finish(cookie, k)
}

func (c *Client) dataChunk(k *call, n uint32) error {
	if n <= 8 || n > 8+k.length {
		return violation("data chunk of %d bytes for a read of %d", n, k.length)
	}
	at, err := c.place(k, n-8)
	if err != nil {
		return err
	}
	_, err = io.ReadFull(c.r, k.buf[at:at+n-8])
	return err
}

func (c *Client) holeChunk(k *call, n uint32) error {
	if n != 12 {
		return violation("hole chunk of %d bytes", n)
	}
	var b [12]byte
	if _, err := io.ReadFull(c.r, b[:]); err != nil {
		return err
	}
	length := be.Uint32(b[8:])
	at, err := k.take(be.Uint64(b[:]), length)
	if err != nil {
		return err
	}
	clear(k.buf[at : at+length])
	return nil
}

// place reads the offset of a piece of a read and returns its place in the buffer.
func (c *Client) place(k *call, length uint32) (uint32, error) {
	var b [8]byte
	if _, err := io.ReadFull(c.r, b[:]); err != nil {
		return 0, err
	}
	return k.take(be.Uint64(b[:]), length)
}

// take notes that a piece of a read is there, once, and within the request.
func (k *call) take(offset uint64, length uint32) (uint32, error) {
	at := offset - uint64(k.offset) // wraps where the offset is smaller, and is too large then
	if length == 0 || at > uint64(k.length) || uint64(length) > uint64(k.length)-at {
		return 0, violation("%d bytes at %d in answer to a read of %d at %d", length, offset, k.length, k.offset)
	}
	if err := k.got.add(uint32(at), uint32(at)+length); err != nil {
		return 0, err
	}
	return uint32(at), nil
}

func (c *Client) statusChunk(k *call, n uint32) error {
	if n < 12 || n > maxStatusBytes || (n-4)%8 != 0 {
		return violation("block status of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.r, b); err != nil {
		return err
	}
	id := be.Uint32(b)
	if _, ok := c.contexts[id]; !ok || k.extents[id] != nil {
		return violation("block status for context %d, unknown or given before", id)
	}
	extents := make([]Extent, 0, (n-4)/8)
	off, end := k.offset, k.offset+int64(k.length)
	for b = b[4:]; len(b) > 0; b = b[8:] {
		length := int64(be.Uint32(b))
		if length == 0 || off >= end {
			return violation("block status with an extent of %d bytes at %d, range ends at %d", length, off, end)
		}
		length = min(length, end-off) // the last extent may say more than was asked
		extents = append(extents, Extent{off, length, be.Uint32(b[4:])})
		off += length
	}
	k.extents[id] = extents
	return nil
}

func (c *Client) errorChunk(k *call, kind uint16, n uint32) error {
	if k.errors++; k.errors > maxErrorsOfCall {
		return violation("more than %d errors in one answer", maxErrorsOfCall)
	}
	if n < 6 || n > 14+maxString {
		return violation("error chunk of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.r, b); err != nil {
		return err
	}
	code, text := be.Uint32(b), int(be.Uint16(b[4:]))
	switch tail := len(b) - 6 - text; {
	case code == 0, tail < 0, kind == chunkErrorPlain && tail != 0, kind == chunkErrorOffset && tail != 8:
		return violation("error chunk of type %#x, %d bytes, code %d, message of %d", kind, n, code, text)
	}
	if k.err == nil {
		k.err = &ServerError{Code: code, Message: string(b[6 : 6+text])}
	}
	return nil
}
