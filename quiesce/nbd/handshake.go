package nbd

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
)

var be = binary.BigEndian

// shaker carries out the handshake on one connection.
type shaker struct {
	conn net.Conn
	r    *bufio.Reader
}

// export is what the handshake found out.
type export struct {
	size       int64
	flags      uint16
	known      bool // size and flags were sent
	minBlock   int64
	maxRequest int64
	structured bool
	contexts   map[uint32]string // id -> name
}

// greet reads the server's greeting and answers it.
func (s *shaker) greet() error {
	var b [18]byte
	if _, err := io.ReadFull(s.r, b[:]); err != nil {
		return fmt.Errorf("no greeting (is it an NBD server?): %w", err)
	}
	if be.Uint64(b[:]) != magicServer {
		return violation("greeting is %q: not an NBD server", b[:8])
	}
	if be.Uint64(b[8:]) != magicOption {
		return violation("server speaks only the old handshake")
	}
	flags := be.Uint16(b[16:])
	if flags&flagFixedNewstyle == 0 {
		return violation("server does not speak the fixed newstyle handshake")
	}
	var answer [4]byte
	be.PutUint32(answer[:], uint32(flags&(flagFixedNewstyle|flagNoZeroes)))
	_, err := s.conn.Write(answer[:])
	return err
}

// refused is a server's error reply to an option.
type refused struct {
	option, code uint32
	message      string
}

func (e *refused) Error() string {
	text := fmt.Sprintf("server refused option %d: %s", e.option, optionError(e.code))
	if e.message != "" {
		text += fmt.Sprintf(" (%q)", e.message)
	}
	return text
}

// option sends one option and hands every reply before the acknowledgement to
// each. An error reply becomes a *refused.
func (s *shaker) option(option uint32, data []byte, each func(kind uint32, data []byte) error) error {
	b := be.AppendUint64(nil, magicOption)
	b = be.AppendUint32(b, option)
	b = be.AppendUint32(b, uint32(len(data)))
	if _, err := s.conn.Write(append(b, data...)); err != nil {
		return err
	}
	for range maxOptionReps {
		kind, data, err := s.optionReply(option)
		if err != nil {
			return err
		}
		switch {
		case kind == repAck:
			if len(data) != 0 {
				return violation("acknowledgement of option %d carries %d bytes", option, len(data))
			}
			return nil
		case kind&repError != 0:
			return &refused{option, kind, string(data[:min(len(data), maxString)])}
		}
		if err := each(kind, data); err != nil {
			return err
		}
	}
	return violation("more than %d replies to option %d", maxOptionReps, option)
}

func (s *shaker) optionReply(option uint32) (kind uint32, data []byte, err error) {
	var b [20]byte
	if _, err := io.ReadFull(s.r, b[:]); err != nil {
		return 0, nil, err
	}
	kind = be.Uint32(b[12:])
	n := be.Uint32(b[16:])
	switch {
	case be.Uint64(b[:]) != magicReply:
		return 0, nil, violation("reply to option %d begins with %x", option, b[:8])
	case be.Uint32(b[8:]) != option:
		return 0, nil, violation("reply to option %d, not %d", be.Uint32(b[8:]), option)
	case n > maxOptionReply:
		return 0, nil, violation("reply of %d bytes to option %d", n, option)
	}
	data = make([]byte, n)
	_, err = io.ReadFull(s.r, data)
	return kind, data, err
}

func appendString(b []byte, s string) []byte {
	return append(be.AppendUint32(b, uint32(len(s))), s...)
}

// structured asks for structured replies; old servers have none.
func (s *shaker) structured() (bool, error) {
	err := s.option(optStructuredReply, nil, func(kind uint32, _ []byte) error {
		return violation("reply %d to the wish for structured replies", kind)
	})
	if _, ok := err.(*refused); ok {
		return false, nil
	}
	return err == nil, err
}

// contexts asks, by option, for the contexts of an export and returns those
// that the server has. Where names is not empty, others are a violation.
func (s *shaker) contexts(option uint32, name string, names []string) (map[uint32]string, error) {
	data := appendString(nil, name)
	data = be.AppendUint32(data, uint32(len(names)))
	for _, n := range names {
		data = appendString(data, n)
	}
	found := make(map[uint32]string)
	var listed uint32
	err := s.option(option, data, func(kind uint32, data []byte) error {
		if kind != repMetaContext || len(data) < 4 || len(data) > 4+maxString {
			return violation("reply %d of %d bytes where a context was due", kind, len(data))
		}
		id, context := be.Uint32(data), string(data[4:])
		if option == optListMetaContext {
			id, listed = listed, listed+1 // ids mean nothing in a list
		} else if !slices.Contains(names, context) {
			return violation("context %q was not asked for", context)
		}
		if other, ok := found[id]; ok {
			return violation("contexts %q and %q have the same id", other, context)
		}
		found[id] = context
		return nil
	})
	return found, err
}

// enter ends the handshake by choosing the export.
func (s *shaker) enter(name string, e *export) error {
	data := appendString(nil, name)
	data = be.AppendUint16(data, 1)
	data = be.AppendUint16(data, infoBlockSize)
	err := s.option(optGo, data, func(kind uint32, data []byte) error {
		if kind != repInfo || len(data) < 2 {
			return violation("reply %d of %d bytes where information was due", kind, len(data))
		}
		return e.inform(be.Uint16(data), data[2:])
	})
	if err == nil && !e.known {
		err = violation("export without a size")
	}
	return err
}

// inform takes one piece of information about the export in.
func (e *export) inform(kind uint16, data []byte) error {
	switch kind {
	case infoExport:
		if len(data) != 10 {
			return violation("size and flags in %d bytes", len(data))
		}
		size := be.Uint64(data)
		e.flags = be.Uint16(data[8:])
		if size > maxSize {
			return violation("export of %d bytes", size)
		}
		if e.flags&transmissionHasFlags == 0 {
			return violation("transmission flags %#x", e.flags)
		}
		e.size, e.known = int64(size), true
	case infoBlockSize:
		if len(data) != 12 {
			return violation("block sizes in %d bytes", len(data))
		}
		low, high := int64(be.Uint32(data)), int64(be.Uint32(data[8:]))
		if low < 1 || low > 64<<10 || low&(low-1) != 0 || high < low {
			return violation("blocks of %d to %d bytes", low, high)
		}
		e.minBlock, e.maxRequest = low, min(maxRequest, high/low*low)
	}
	return nil
}
