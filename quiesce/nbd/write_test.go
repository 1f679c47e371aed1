package nbd

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// serveWith starts a server that listens on the socket it is to be given, and waits for it.
func serveWith(t *testing.T, name string, args func(socket string) []string) string {
	t.Helper()
	needs.Tools(t, name)
	socket := filepath.Join(t.TempDir(), "s")
	cmd := exec.Command(name, args(socket)...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return socket
		}
	}
	t.Fatalf("%s did not open its socket", name)
	return ""
}

func unix(socket, export string) Address {
	return Address{Network: "unix", Host: socket, Export: export}
}

// TestWhatIsWrittenIsReadBack does random writes and compares with a model, against
// servers of two makers, one of which takes only whole blocks of 4 KiB.
func TestWhatIsWrittenIsReadBack(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	image := filepath.Join(t.TempDir(), "raw")
	if err := os.WriteFile(image, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, serve := range map[string]func(t *testing.T) Address{
		"qemu-nbd": func(t *testing.T) Address {
			return unix(serveWith(t, "qemu-nbd", func(s string) []string { return []string{"-t", "-e", "4", "-f", "raw", "-x", "disk", "-k", s, image} }), "disk")
		},
		"nbdkit": func(t *testing.T) Address {
			return unix(serveWith(t, "nbdkit", func(s string) []string { return []string{"-f", "-U", s, "memory", "1M"} }), "")
		},
		"nbdkit with blocks of 4 KiB": func(t *testing.T) Address {
			return unix(serveWith(t, "nbdkit", func(s string) []string {
				return []string{"-f", "-U", s, "--filter=blocksize-policy", "memory", "1M", "blocksize-minimum=4096", "blocksize-preferred=4096", "blocksize-maximum=64K", "blocksize-error-policy=error"}
			}), "")
		},
		"nbdkit that cannot zero": func(t *testing.T) Address {
			return unix(serveWith(t, "nbdkit", func(s string) []string {
				return []string{"-f", "-U", s, "--filter=nozero", "memory", "1M"}
			}), "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := DialAddress(t.Context(), serve(t), Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rng, noise := rand.New(rand.NewPCG(seed, 0)), rand.NewChaCha8([32]byte{1})
			want := make([]byte, size)
			for range 200 {
				off := rng.Int64N(size)
				p := make([]byte, 1+rng.IntN(min(100_000, int(size-off))))
				if rng.IntN(3) == 0 {
					err = c.Zero(off, int64(len(p)))
				} else {
					noise.Read(p)
					_, err = c.WriteAt(p, off)
				}
				copy(want[off:], p)
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, size)
			if _, err := c.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
				t.Errorf("what was written is not there: %v", err)
			}
			if err := c.Trim(0, size); err != nil {
				t.Error(err)
			}
			if _, err := c.WriteAt(got, 1); err == nil {
				t.Error("wrote past the end")
			}
		})
	}
}

func TestAnExportIsReachedByTCP(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, l, func(s *server) {
		s.shake()
		r := s.request()
		if got := s.take(int(r.length)); r.kind != cmdWrite || string(got) != "hello" {
			t.Errorf("request %+v with %q", r, got)
		}
		s.send(uint32(magicSimple), uint32(0), r.cookie) // allowed where nothing was read
		s.take(28)
	})
	a, err := ParseURI("nbd://" + l.Addr().String() + "/a%20b")
	if err != nil || a.Export != "a b" {
		t.Fatal(a, err)
	}
	c, err := DialAddress(t.Context(), a, Options{Contexts: []string{BaseAllocation}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// The scripted export offers writes, but calls itself read-only.
	c.flags &^= FlagReadOnly
	if _, err := c.WriteAt([]byte("hello"), 7); err != nil {
		t.Error(err)
	}
}

func TestAServerThatMistreatsAWriterIsLeft(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer func(s *server, r request)
		want   error
	}{
		"no room": {func(s *server, r request) { s.send(uint32(magicSimple), uint32(syscall.ENOSPC), r.cookie) }, syscall.ENOSPC},
		"data for a write": {func(s *server, r request) {
			s.chunk(chunkDone, chunkOffsetData, r.cookie, 12, r.offset, "some")
		}, ErrProtocol},
		"status for a write": {func(s *server, r request) {
			s.chunk(chunkDone, chunkBlockStatus, r.cookie, 12, uint32(7), uint32(10), uint32(0))
		}, ErrProtocol},
		"another's cookie": {func(s *server, r request) { s.send(uint32(magicSimple), uint32(0), r.cookie+1) }, ErrProtocol},
		"silence":          {func(s *server, r request) { s.take(1) }, os.ErrDeadlineExceeded},
		"end":              {func(s *server, r request) { s.Close() }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := serve(t, func(s *server) {
				s.shake()
				r := s.request()
				s.take(int(r.length))
				test.answer(s, r)
				s.take(28)
			})
			c, err := connectTo(t, path)
			if err != nil {
				t.Fatal(err)
			}
			c.flags, c.patience = 0, 100*time.Millisecond
			n, err := c.WriteAt([]byte("1234"), 0)
			if n != 0 || err == nil {
				t.Fatalf("%d, %v", n, err)
			}
			if test.want != nil && !errors.Is(err, test.want) && !strings.Contains(err.Error(), "no answer within") {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}

func TestAServerThatDoesNotListenHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	path := serve(t, func(s *server) {
		s.shake()
		s.request()
		time.Sleep(300 * time.Millisecond)
	})
	c, err := connectTo(t, path)
	if err != nil {
		t.Fatal(err)
	}
	c.flags, c.patience = 0, 100*time.Millisecond
	if _, err := c.WriteAt(make([]byte, 1<<20), 0); err == nil {
		t.Error("a write that nobody took in was done")
	}
}

func TestAReadOnlyExportIsNotWrittenTo(t *testing.T) {
	t.Parallel()
	c, err := connectTo(t, serve(t, func(s *server) { s.shake(); s.take(28) }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WriteAt([]byte("x"), 0); !errors.Is(err, ErrReadOnly) {
		t.Error(err)
	}
	if err := c.Zero(0, 1); !errors.Is(err, ErrReadOnly) {
		t.Error(err)
	}
}

func TestURIsNameAnExport(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Address{
		"nbd://host":                         {"tcp", "host:10809", ""},
		"nbd://host:99/disk":                 {"tcp", "host:99", "disk"},
		"nbd://[::1]/a/b":                    {"tcp", "[::1]:10809", "a/b"},
		"nbd+unix:///?socket=/run/x.sock":    {"unix", "/run/x.sock", ""},
		"nbd+unix:///vda?socket=/run/a%20b":  {"unix", "/run/a b", "vda"},
		"nbd+unix:///v%2Fd?socket=/run/a%26": {"unix", "/run/a&", "v/d"},
	} {
		got, err := ParseURI(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if again, err := ParseURI(got.String()); err != nil || again != got {
			t.Errorf("%s written as %s, read as %+v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "nbd:", "nbd://", "nbds://host/x", "http://host", "nbd:///x", "nbd://host/x?socket=/y", "nbd+unix:///x",
		"nbd+unix://host/x?socket=/y", "nbd://user@host/x", "nbd+unix:///x?socket=", "nbd://host/x#y", "nbd://host:99999999/%zz", "nbd://host/" + strings.Repeat("x", 5000)} {
		if a, err := ParseURI(text); err == nil {
			t.Errorf("%q is read as %+v", text, a)
		}
	}
}
