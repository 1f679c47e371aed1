package nbd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestAnswersInPiecesAndOutOfOrderAreReadWhole(t *testing.T) {
	path := serve(t, func(s *server) {
		s.shake()
		a, b := s.request(), s.request()
		for _, r := range []request{b, a} { // interleaved, last piece first
			s.chunk(0, chunkOffsetData, r.cookie, 12, r.offset+12, "tail")
		}
		for _, r := range []request{a, b} {
			s.chunk(0, chunkOffsetHole, r.cookie, 12, r.offset+4, uint32(8))
			s.chunk(0, chunkOffsetData, r.cookie, 12, r.offset, "head")
			s.chunk(chunkDone, chunkNone, r.cookie, 0)
		}
		s.take(28)
	})
	c, err := connectTo(t, path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, off := range []int64{0, 4096} {
		wg.Go(func() {
			got := bytes.Repeat([]byte{'x'}, 16)
			if n, err := c.ReadAt(got, off); n != 16 || err != nil || string(got) != "head\x00\x00\x00\x00\x00\x00\x00\x00tail" {
				t.Errorf("at %d: %d, %v, %q", off, n, err, got)
			}
		})
	}
	wg.Wait()
}

func TestAnErrorOfOneReadLeavesTheOthersAlone(t *testing.T) {
	path := serve(t, func(s *server) {
		s.shake()
		r := s.request()
		s.chunk(0, chunkOffsetData, r.cookie, 12, r.offset, "some")
		s.chunk(chunkDone, chunkErrorOffset, r.cookie, 6+4+8, uint32(5), uint16(4), "rust", r.offset+4)
		r = s.request()
		s.chunk(chunkDone, chunkOffsetData, r.cookie, 12, r.offset, "fine")
		s.take(28)
	})
	c, err := connectTo(t, path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.ReadAt(make([]byte, 8), 0)
	if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "rust") {
		t.Errorf("error of the server came out as %v", err)
	}
	got := make([]byte, 4)
	if _, err := c.ReadAt(got, 100); err != nil || string(got) != "fine" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestBlockStatusEndsWhereTheRangeEnds(t *testing.T) {
	path := serve(t, func(s *server) {
		s.shake()
		r := s.request()
		s.chunk(chunkDone, chunkBlockStatus, r.cookie, 4+16, uint32(7), uint32(1000), uint32(3), uint32(1<<31), uint32(0))
		s.take(28)
	})
	c, err := connectTo(t, path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.BlockStatus(t.Context(), 4096, 8192)
	want := []Extent{{4096, 1000, Hole | ZeroBytes}, {5096, 7192, 0}}
	if err != nil || len(got) != 1 || len(got[BaseAllocation]) != 2 || got[BaseAllocation][0] != want[0] || got[BaseAllocation][1] != want[1] {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

func TestOldServersAnswerInSimpleReplies(t *testing.T) {
	path := serve(t, func(s *server) {
		s.greet()
		s.answer(s.option(), repError+1, "no such thing here")
		s.answer(s.option(), repInfo, uint16(infoExport), uint64(10), uint16(1))
		s.answer(optGo, repAck)
		r := s.request()
		s.send(uint32(magicSimple), uint32(0), r.cookie, "0123456789")
		r = s.request()
		s.send(uint32(magicSimple), uint32(syscall.EPERM), r.cookie)
		s.take(28)
	})
	c, err := connectTo(t, path)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 20)
	if n, err := c.ReadAt(got, 0); n != 10 || err != io.EOF || string(got[:n]) != "0123456789" {
		t.Errorf("%d, %v, %q", n, err, got)
	}
	if _, err := c.ReadAt(got, 5); !errors.Is(err, syscall.EPERM) {
		t.Error(err)
	}
	if _, err := c.ReadAt(got, 10); err != io.EOF {
		t.Error(err)
	}
	if _, err := c.BlockStatus(t.Context(), 0, 10); !errors.Is(err, ErrNoContext) {
		t.Error(err)
	}
}

func TestAServerWithLargeBlocksIsAskedForWholeOnes(t *testing.T) {
	content := make([]byte, 8<<10)
	for i := range content {
		content[i] = byte(i * 7 >> 3)
	}
	path := serve(t, func(s *server) {
		s.greet()
		s.answer(s.option(), repError+1)
		s.option()
		s.answer(optGo, repInfo, uint16(infoBlockSize), uint32(1024), uint32(1024), uint32(2048))
		s.answer(optGo, repInfo, uint16(infoExport), uint64(len(content)), uint16(1))
		s.answer(optGo, repAck)
		for {
			r := s.request()
			if r.kind != cmdRead || r.length == 0 {
				return
			}
			if r.offset%1024 != 0 || r.length%1024 != 0 || r.length > 2048 {
				s.t.Errorf("asked for %d bytes at %d", r.length, r.offset)
			}
			s.send(uint32(magicSimple), uint32(0), r.cookie, content[r.offset:r.offset+uint64(r.length)])
		}
	})
	c, err := connectTo(t, path)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]int{{0, 8192}, {1, 8191}, {1023, 2}, {1024, 3000}, {8191, 1}, {100, 5000}} {
		got := make([]byte, r[1])
		if _, err := c.ReadAt(got, int64(r[0])); err != nil || !bytes.Equal(got, content[r[0]:r[0]+r[1]]) {
			t.Errorf("%d bytes at %d: wrong, or %v", r[1], r[0], err)
		}
	}
}

func TestCloseEndsPendingCalls(t *testing.T) {
	asked := make(chan struct{})
	path := serve(t, func(s *server) {
		s.shake()
		for range 3 {
			s.request()
		}
		close(asked)
		s.request()
		io.Copy(io.Discard, s)
	})
	c, err := connectTo(t, path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if _, err := c.ReadAt(make([]byte, 100), 0); !errors.Is(err, ErrClosed) {
				t.Errorf("read ended with %v", err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancelled := make(chan struct{})
	go func() {
		defer close(cancelled)
		if _, err := c.BlockStatus(ctx, 0, 100); !errors.Is(err, context.Canceled) {
			t.Errorf("block status ended with %v", err)
		}
	}()
	<-asked
	cancel()
	<-cancelled
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if _, err := c.ReadAt(make([]byte, 1), 0); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestAServerThatNeverGreetsIsLeft(t *testing.T) {
	path := serve(t, func(s *server) { io.Copy(io.Discard, s) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, path, Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
