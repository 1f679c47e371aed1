package nbd

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

func TestViolationsDuringTheHandshakeAreNamed(t *testing.T) {
	export := func(s *server, kind uint16, data ...any) {
		s.greet()
		s.answer(s.option(), repError+1)
		s.option()
		s.answer(optGo, repInfo, append([]any{kind}, data...)...)
		s.answer(optGo, repAck)
	}
	structured := func(s *server) {
		s.greet()
		s.answer(s.option(), repAck)
		s.option()
	}
	for want, script := range map[string]func(s *server){
		"not an NBD server": func(s *server) { s.send("HTTP/1.1 400 Bad Request") },
		"old handshake":     func(s *server) { s.send("NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53", uint16(0)) },
		"fixed newstyle":    func(s *server) { s.send("NBDMAGICIHAVEOPT", uint16(0)) },
		"no greeting":       func(s *server) { s.send("NBDM") },
		"reply to option 8 begins": func(s *server) {
			s.greet()
			s.option()
			s.send(make([]byte, 20))
		},
		"reply to option 9, not 8":  func(s *server) { s.greet(); s.option(); s.answer(9, repAck) },
		"reply of 4294967295 bytes": func(s *server) { s.greet(); s.option(); s.send(uint64(magicReply), uint32(8), uint32(1), ^uint32(0)) },
		"carries 1 bytes":           func(s *server) { s.greet(); s.answer(s.option(), repAck, "x") },
		"TLS required (\"encrypt!\\x1b\")": func(s *server) {
			s.greet()
			s.answer(s.option(), repError+1)
			s.answer(s.option(), repError+5, "encrypt!\x1b")
		},
		"no such export":                     func(s *server) { s.greet(); s.answer(s.option(), repError+1); s.answer(s.option(), repError+6) },
		"without a size":                     func(s *server) { export(s, 9, "unknown information") },
		"export of 18446744073709551615":     func(s *server) { export(s, infoExport, ^uint64(0), uint16(1)) },
		"transmission flags 0x0":             func(s *server) { export(s, infoExport, uint64(5), uint16(0)) },
		"size and flags in 8 bytes":          func(s *server) { export(s, infoExport, uint64(5)) },
		"blocks of 0 to 5":                   func(s *server) { export(s, infoBlockSize, uint32(0), uint32(1), uint32(5)) },
		"blocks of 3 to 5":                   func(s *server) { export(s, infoBlockSize, uint32(3), uint32(1), uint32(5)) },
		"blocks of 8 to 5":                   func(s *server) { export(s, infoBlockSize, uint32(8), uint32(1), uint32(5)) },
		"blocks of 131072 to 4294967295":     func(s *server) { export(s, infoBlockSize, uint32(1<<17), uint32(1), ^uint32(0)) },
		"block sizes in 4 bytes":             func(s *server) { export(s, infoBlockSize, uint32(1)) },
		"reply 2 of 2 bytes where informati": func(s *server) { s.greet(); s.answer(s.option(), repError+1); s.answer(s.option(), 2, uint16(0)) },
		"\"qemu:x\" was not asked for":       func(s *server) { structured(s); s.answer(optSetMetaContext, repMetaContext, uint32(1), "qemu:x") },
		"have the same id": func(s *server) {
			structured(s)
			for range 2 {
				s.answer(optSetMetaContext, repMetaContext, uint32(1), BaseAllocation)
			}
		},
		"more than 4096 replies": func(s *server) {
			s.greet()
			s.answer(s.option(), repError+1)
			s.option()
			go io.Copy(io.Discard, s)
			for range maxOptionReps + 1 {
				s.answer(optGo, repInfo, uint16(9))
			}
		},
	} {
		t.Run(want, func(t *testing.T) {
			c, err := connectTo(t, serve(t, script))
			if err == nil {
				t.Fatalf("connected: %+v", c.export)
			}
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestViolationsInRepliesEndTheConnection(t *testing.T) {
	read := func(fn func(s *server, r request)) func(*server) {
		return func(s *server) { s.shake(); fn(s, s.request()); io.Copy(io.Discard, s) }
	}
	for want, script := range map[string]func(s *server){
		"reply begins with 00":     read(func(s *server, r request) { s.send(make([]byte, 16)) }),
		"request 77, which nobody": read(func(s *server, r request) { s.chunk(1, chunkNone, 77, 0) }),
		"simple reply where":       read(func(s *server, r request) { s.send(uint32(magicSimple), uint32(0), r.cookie) }),
		"leaves some out": read(func(s *server, r request) {
			s.chunk(1, chunkOffsetData, r.cookie, 8+4, r.offset, "half")
		}),
		"of 8 bytes at 4096 leaves some": read(func(s *server, r request) { s.chunk(1, chunkNone, r.cookie, 0) }),
		"came twice": read(func(s *server, r request) {
			s.chunk(0, chunkOffsetData, r.cookie, 8+4, r.offset+2, "1234")
			s.chunk(0, chunkOffsetHole, r.cookie, 12, r.offset, uint32(3))
		}),
		"at 4095 in answer":    read(func(s *server, r request) { s.chunk(0, chunkOffsetData, r.cookie, 8+4, r.offset-1, "1234") }),
		"5 bytes at 4100":      read(func(s *server, r request) { s.chunk(0, chunkOffsetHole, r.cookie, 12, r.offset+4, uint32(5)) }),
		"0 bytes at 4096":      read(func(s *server, r request) { s.chunk(0, chunkOffsetHole, r.cookie, 12, r.offset, uint32(0)) }),
		"at 184467440737":      read(func(s *server, r request) { s.chunk(0, chunkOffsetHole, r.cookie, 12, ^uint64(0), uint32(8)) }),
		"data chunk of 8 by":   read(func(s *server, r request) { s.chunk(0, chunkOffsetData, r.cookie, 8, r.offset) }),
		"data chunk of 429496": read(func(s *server, r request) { s.chunk(0, chunkOffsetData, r.cookie, ^uint32(0), r.offset) }),
		"hole chunk of 13":     read(func(s *server, r request) { s.chunk(0, chunkOffsetHole, r.cookie, 13) }),
		"type 0, 0 bytes":      read(func(s *server, r request) { s.chunk(0, chunkNone, r.cookie, 0) }),
		"type 99, 4 bytes":     read(func(s *server, r request) { s.chunk(0, 99, r.cookie, 4) }),
		"type 5, 12 bytes":     read(func(s *server, r request) { s.chunk(0, chunkBlockStatus, r.cookie, 12, uint32(7), uint64(1)) }),
		"error chunk of 5":     read(func(s *server, r request) { s.chunk(1, chunkErrorPlain, r.cookie, 5) }),
		"error chunk of 99999": read(func(s *server, r request) { s.chunk(1, chunkErrorPlain, r.cookie, 99999) }),
		"message of 200":       read(func(s *server, r request) { s.chunk(1, chunkErrorPlain, r.cookie, 6, uint32(5), uint16(200)) }),
		"code 0":               read(func(s *server, r request) { s.chunk(1, chunkErrorPlain, r.cookie, 6, uint32(0), uint16(0)) }),
		"more than 16 errors": read(func(s *server, r request) {
			for range 17 {
				s.chunk(0, chunkErrorPlain, r.cookie, 6, uint32(5), uint16(0))
			}
		}),
		"server closed": func(s *server) { s.shake(); s.request() },
	} {
		t.Run(want, func(t *testing.T) {
			c, err := connectTo(t, serve(t, script))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the first call finds out, the second is told
				if _, err := c.ReadAt(make([]byte, 8), 4096); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v", err)
				}
			}
		})
	}
}

func TestAServerThatCannotAnswerInOnePieceIsAskedForPieces(t *testing.T) {
	asked := make(chan uint16, 10)
	c, err := connectTo(t, serve(t, func(s *server) {
		s.shake()
		for {
			r := s.request()
			asked <- r.flags
			if r.flags&requestWhole != 0 {
				s.chunk(chunkDone, chunkErrorPlain, r.cookie, 6, uint32(codeOverflow), uint16(0))
				continue
			}
			s.chunk(0, chunkOffsetData, r.cookie, 8+4, r.offset, "1234")
			s.chunk(chunkDone, chunkOffsetHole, r.cookie, 12, r.offset+4, uint32(4))
			if len(asked) == 3 {
				return
			}
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	c.flags |= FlagSendWhole // before any call
	for range 2 {
		p := []byte("xxxxxxxx")
		if _, err := c.ReadAt(p, 4096); err != nil || string(p) != "1234\x00\x00\x00\x00" {
			t.Errorf("%q, %v", p, err)
		}
	}
	for _, want := range []uint16{requestWhole, 0, 0} {
		if got := <-asked; got != want {
			t.Errorf("a read with flags %d, want %d", got, want)
		}
	}
}

func TestViolationsInBlockStatusEndTheConnection(t *testing.T) {
	for want, answer := range map[string]func(s *server, r request){
		"context 8, unknown": func(s *server, r request) {
			s.chunk(1, chunkBlockStatus, r.cookie, 12, uint32(8), uint32(1), uint32(0))
		},
		"given before": func(s *server, r request) {
			for range 2 {
				s.chunk(0, chunkBlockStatus, r.cookie, 12, uint32(7), uint32(1), uint32(0))
			}
		},
		"extent of 0 bytes": func(s *server, r request) {
			s.chunk(1, chunkBlockStatus, r.cookie, 12, uint32(7), uint32(0), uint32(0))
		},
		"at 8192, range ends": func(s *server, r request) {
			s.chunk(1, chunkBlockStatus, r.cookie, 20, uint32(7), uint32(4096), uint32(0), uint32(1), uint32(0))
		},
		"status of 4 bytes":     func(s *server, r request) { s.chunk(1, chunkBlockStatus, r.cookie, 4, uint32(7)) },
		"status of 13 bytes":    func(s *server, r request) { s.chunk(1, chunkBlockStatus, r.cookie, 13) },
		"status of 4294967292 ": func(s *server, r request) { s.chunk(1, chunkBlockStatus, r.cookie, ^uint32(3)) },
		"for 0 of 1 contexts":   func(s *server, r request) { s.chunk(1, chunkNone, r.cookie, 0) },
		"to command 7":          func(s *server, r request) { s.chunk(1, chunkOffsetData, r.cookie, 12, r.offset, "data") },
	} {
		t.Run(want, func(t *testing.T) {
			c, err := connectTo(t, serve(t, func(s *server) { s.shake(); answer(s, s.request()); io.Copy(io.Discard, s) }))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.BlockStatus(t.Context(), 4096, 4096); !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestScatteredPiecesAreBounded(t *testing.T) {
	var p pieces
	var err error
	for i := uint32(0); err == nil && i < 10*maxScattered; i += 2 {
		err = p.add(i, i+1)
	}
	if !errors.Is(err, ErrProtocol) || len(p) > maxScattered {
		t.Errorf("%d pieces, %v", len(p), err)
	}
}

// FuzzReplies lets a server that says anything at all answer two reads and a
// block status: every call ends, and a read that succeeds was answered to its last byte.
func FuzzReplies(f *testing.F) {
	good := be.AppendUint32(nil, magicChunk)
	good = append(good, 0, 1, 0, 1)
	good = be.AppendUint32(be.AppendUint64(good, 1), 8+16)
	good = append(be.AppendUint64(good, 512), "sixteen letters."...)
	f.Add(good)
	status := be.AppendUint32(nil, magicChunk)
	status = append(status, 0, 1, 0, 5)
	status = be.AppendUint32(be.AppendUint64(status, 3), 20)
	status = append(status, 0, 0, 0, 7, 0, 0, 2, 0, 0, 0, 0, 3, 0, 0, 2, 0, 0, 0, 0, 0)
	f.Add(append(good, status...))
	f.Add(append(append([]byte{}, good[:18]...), 0x80, 1, 0, 0, 0, 6, 0, 0, 0, 5, 0, 0))
	f.Fuzz(func(t *testing.T, replies []byte) {
		ours, theirs := net.Pipe()
		c := newClient(ours)
		c.size, c.structured, c.contexts = 1<<20, true, map[uint32]string{7: BaseAllocation}
		go c.receive()
		defer c.Close()
		go io.Copy(io.Discard, theirs) // ends with the pipe

		calls := []*call{
			{kind: cmdRead, offset: 512, length: 16, buf: make([]byte, 16)},
			{kind: cmdRead, offset: 0, length: 4096, buf: make([]byte, 4096)},
			{kind: cmdBlockStatus, length: 1024, extents: make(map[uint32][]Extent)},
		}
		for _, k := range calls {
			if err := c.start(t.Context(), k); err != nil {
				t.Fatal(err)
			}
		}
		theirs.Write(replies)
		theirs.Close()
		for _, k := range calls {
			<-k.done
			if k.err != nil {
				continue
			}
			if k.kind == cmdRead && !k.got.all(k.length) {
				t.Errorf("read of %d bytes succeeded with %v", k.length, k.got)
			}
			for _, e := range k.extents[7] {
				if e.Length <= 0 || e.Offset < 0 || e.Offset+e.Length > 1024 {
					t.Errorf("extent %+v", e)
				}
			}
		}
	})
}

// FuzzHandshake lets anything at all greet us.
func FuzzHandshake(f *testing.F) {
	f.Add([]byte("NBDMAGICIHAVEOPT\x00\x03"))
	f.Fuzz(func(t *testing.T, said []byte) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		go io.Copy(io.Discard, theirs)
		go func() { theirs.Write(said); theirs.Close() }()
		c := newClient(ours)
		if err := c.handshake(Options{Contexts: []string{BaseAllocation}}); err == nil && (!c.known || c.size < 0 || c.maxRequest < c.minBlock) {
			t.Errorf("%+v", c.export)
		}
	})
}
