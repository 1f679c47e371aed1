package nbd

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// server is a scripted NBD server for one connection.
type server struct {
	net.Conn
	t *testing.T
}

// serve lets script answer the first connection to a socket, whose path it returns.
func serve(t *testing.T, script func(s *server)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, l, script)
	return path
}

// serveOn lets script answer the first connection until the test ends.
func serveOn(t *testing.T, l net.Listener, script func(s *server)) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(time.Minute))
		script(&server{conn, t})
	}()
	t.Cleanup(func() { l.Close(); <-done })
}

func (s *server) send(parts ...any) {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case uint16:
			b = be.AppendUint16(b, p)
		case uint32:
			b = be.AppendUint32(b, p)
		case uint64:
			b = be.AppendUint64(b, p)
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		default:
			panic(p)
		}
	}
	s.Write(b) // a client that left shows in what the test sees
}

func (s *server) take(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(s, b); err != nil {
		return make([]byte, n)
	}
	return b
}

func (s *server) greet() {
	s.send("NBDMAGICIHAVEOPT", uint16(3))
	s.take(4)
}

// option takes one option in.
func (s *server) option() uint32 {
	b := s.take(16)
	s.take(int(be.Uint32(b[12:])))
	return be.Uint32(b[8:])
}

func (s *server) answer(option, kind uint32, data ...any) {
	var size uint32
	for _, d := range data {
		switch d := d.(type) {
		case uint16:
			size += 2
		case uint32:
			size += 4
		case uint64:
			size += 8
		case string:
			size += uint32(len(d))
		}
	}
	s.send(append([]any{uint64(magicReply), option, kind, size}, data...)...)
}

// shake does a whole handshake for an export of 1 MiB with base:allocation as context 7.
func (s *server) shake() {
	s.greet()
	for {
		switch o := s.option(); o {
		case optSetMetaContext:
			s.answer(o, repMetaContext, uint32(7), BaseAllocation)
			s.answer(o, repAck)
		case optGo:
			s.answer(o, repInfo, uint16(infoExport), uint64(1<<20), uint16(3))
			s.answer(o, repInfo, uint16(infoBlockSize), uint32(1), uint32(4096), uint32(32<<20))
			s.answer(o, repAck)
			return
		case optStructuredReply:
			s.answer(o, repAck)
		default:
			return
		}
	}
}

// request is one request as the server sees it.
type request struct {
	flags, kind    uint16
	cookie, offset uint64
	length         uint32
}

func (s *server) request() request {
	b := s.take(28)
	return request{be.Uint16(b[4:]), be.Uint16(b[6:]), be.Uint64(b[8:]), be.Uint64(b[16:]), be.Uint32(b[24:])}
}

func (s *server) chunk(flags, kind uint16, cookie uint64, size uint32, data ...any) {
	s.send(append([]any{uint32(magicChunk), flags, kind, cookie, size}, data...)...)
}

func connectTo(t *testing.T, path string) (*Client, error) {
	t.Helper()
	c, err := Dial(context.Background(), path, Options{Contexts: []string{BaseAllocation}})
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}
