package nbd

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// nbdkit starts a server that does what its plugin and filters say, and returns its socket.
func nbdkit(t *testing.T, args ...string) (string, *exec.Cmd) {
	t.Helper()
	needs.Tools(t, "nbdkit")
	folder, err := os.MkdirTemp("", "nbdkit")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	socket := filepath.Join(folder, "s")
	cmd := exec.Command("nbdkit", append([]string{"-f", "--exit-with-parent", "-U", socket}, args...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("unix", socket); err == nil { // its name is there before it listens
			conn.Close()
			return socket, cmd
		}
	}
	t.Fatal("nbdkit did not open its socket")
	return "", nil
}

func dialKit(t *testing.T, socket string, stall time.Duration) *Client {
	t.Helper()
	c, err := Dial(t.Context(), socket, Options{Contexts: []string{BaseAllocation}, Stall: stall})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// walk asks for the whole block status and returns how much reads as zeros.
func walk(t *testing.T, c *Client) (zeros int64, err error) {
	t.Helper()
	for at := int64(0); at < c.Size(); {
		status, err := c.BlockStatus(t.Context(), at, c.Size()-at)
		if err != nil {
			return zeros, err
		}
		for _, e := range status[BaseAllocation] {
			if e.Offset != at || e.Length <= 0 || e.Offset+e.Length > c.Size() {
				t.Fatalf("extent %+v at %d", e, at)
			}
			if at += e.Length; e.Flags&ZeroBytes != 0 {
				zeros += e.Length
			}
		}
	}
	return zeros, nil
}

func TestErrorsOfAServerAreThoseOfTheReadsTheyHit(t *testing.T) {
	t.Parallel()
	// Reads of the second half fail; block status fails always.
	socket, _ := nbdkit(t, "eval", "get_size=echo 1M", `pread=test $4 -lt 524288 || { echo "EIO the disk is worn" >&2; exit 1; }; head -c $3 /dev/zero | tr '\0' x`,
		`can_extents=exit 0`, `extents=echo "ENOMEM no room" >&2; exit 1`)
	c := dialKit(t, socket, 0)
	var wg sync.WaitGroup
	for i := range int64(8) {
		wg.Go(func() {
			p := make([]byte, 4096)
			_, err := c.ReadAt(p, i*131072)
			switch {
			case i < 4 && (err != nil || !bytes.Equal(p, bytes.Repeat([]byte("x"), 4096))):
				t.Errorf("at %d: %v", i, err)
			case i >= 4 && !errors.Is(err, syscall.EIO):
				t.Errorf("at %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if _, err := walk(t, c); !errors.Is(err, syscall.ENOMEM) {
		t.Error(err)
	}
	if _, err := c.ReadAt(make([]byte, 10), 5); err != nil {
		t.Error("the connection did not go on:", err)
	}
}

func TestErrorsThatComeAndGoAreNeverTakenForData(t *testing.T) {
	t.Parallel()
	socket, _ := nbdkit(t, "--filter=error", "pattern", "4M", "error-rate=40%", "error-pread-rate=40%")
	c := dialKit(t, socket, 0)
	good, bad := 0, 0
	for at := int64(0); at < c.Size(); at += 64 << 10 {
		p := make([]byte, 64<<10)
		if _, err := c.ReadAt(p, at); err != nil {
			bad++
			continue
		}
		good++
		for i := int64(0); i < int64(len(p)); i += 8 {
			if be.Uint64(p[i:]) != uint64(at+i) {
				t.Fatalf("at %d: %x", at+i, p[i:i+8])
			}
		}
	}
	if good == 0 || bad == 0 {
		t.Errorf("%d reads succeeded, %d failed", good, bad)
	}
}

func TestBlockStatusOfOddLengthsIsFollowedToTheEnd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		extents string // of the eval plugin: prints offset, length, flags
		zeros   int64
		fails   bool
	}{
		"one sector at a time":  {`extents=echo $4 512 hole,zero`, 64 << 10, false},
		"beyond what was asked": {`extents=echo $4 1048576 hole,zero`, 64 << 10, false},
		"begins before":         {`extents=echo 0 65536 hole,zero`, 64 << 10, false},
		"hole, not zero":        {`extents=echo 0 65536 hole`, 0, false},
		"begins later":          {`extents=echo $(($4+512)) 512 hole,zero`, 0, true},
		"nothing":               {`extents=true`, 0, true},
		"no numbers":            {`extents=echo x y z`, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			socket, _ := nbdkit(t, "eval", "get_size=echo 64K", "pread=head -c $3 /dev/zero", "can_extents=exit 0", test.extents)
			zeros, err := walk(t, dialKit(t, socket, 0))
			if (err != nil) != test.fails || zeros != test.zeros {
				t.Errorf("%d bytes of zeros, %v", zeros, err)
			}
		})
	}
}

func TestAServerThatSendsTooLittleEndsTheRead(t *testing.T) {
	t.Parallel()
	socket, _ := nbdkit(t, "eval", "get_size=echo 1M", "pread=head -c 100 /dev/zero")
	c := dialKit(t, socket, 0)
	if n, err := c.ReadAt(make([]byte, 4096), 0); err == nil || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
}

func TestAServerThatStallsIsLeft(t *testing.T) {
	t.Parallel()
	const limit = 300 * time.Millisecond
	t.Run("in a read", func(t *testing.T) {
		t.Parallel()
		socket, _ := nbdkit(t, "--filter=delay", "pattern", "1M", "rdelay=100")
		c := dialKit(t, socket, limit)
		_, err := c.ReadAt(make([]byte, 4096), 0)
		if !errors.Is(err, ErrStalled) || !strings.Contains(err.Error(), "300ms") {
			t.Error(err)
		}
		if _, err := c.ReadAt(make([]byte, 4096), 0); !errors.Is(err, ErrStalled) {
			t.Error(err)
		}
	})
	t.Run("in a block status", func(t *testing.T) {
		t.Parallel()
		socket, _ := nbdkit(t, "--filter=delay", "memory", "1M", "delay-extents=100")
		if _, err := walk(t, dialKit(t, socket, limit)); !errors.Is(err, ErrStalled) {
			t.Error(err)
		}
	})
	t.Run("byte by byte", func(t *testing.T) {
		t.Parallel()
		c, err := Dial(t.Context(), serve(t, func(s *server) {
			s.shake()
			r := s.request()
			s.chunk(1, chunkOffsetData, r.cookie, 8+1<<20, r.offset)
			for { // never silent for long
				if _, err := s.Write([]byte{1}); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}), Options{Stall: limit})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.ReadAt(make([]byte, 1<<20), 0); !errors.Is(err, ErrStalled) {
			t.Error(err)
		}
	})
	t.Run("without listening", func(t *testing.T) {
		t.Parallel()
		gone := make(chan struct{})
		c, err := Dial(t.Context(), serve(t, func(s *server) { s.shake(); <-gone }), Options{Stall: limit})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		defer close(gone)
		var wg sync.WaitGroup
		for range 2 * window {
			wg.Go(func() {
				if _, err := c.ReadAt(make([]byte, 16), 0); !errors.Is(err, ErrStalled) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func TestAServerThatIsSlowIsNotOneThatStalls(t *testing.T) {
	t.Parallel()
	socket, _ := nbdkit(t, "--filter=rate", "pattern", "256K", "rate=8M")
	c := dialKit(t, socket, 5*time.Second)
	p := make([]byte, c.Size())
	if _, err := c.ReadAt(p, 0); err != nil || be.Uint64(p[len(p)-8:]) != uint64(len(p)-8) {
		t.Error(err)
	}
	// And between requests it may be idle for as long as it likes.
	idle := dialKit(t, socket, 5*time.Second)
	time.Sleep(5200 * time.Millisecond)
	if _, err := idle.ReadAt(make([]byte, 8), 0); err != nil {
		t.Error(err)
	}
}

func TestAServerThatIsKilledEndsEveryRead(t *testing.T) {
	t.Parallel()
	socket, cmd := nbdkit(t, "--filter=delay", "pattern", "64M", "rdelay=100ms")
	c := dialKit(t, socket, 0)
	var wg sync.WaitGroup
	for i := range int64(16) {
		wg.Go(func() {
			for {
				if _, err := c.ReadAt(make([]byte, 4096), i*4096); err != nil {
					if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, io.ErrUnexpectedEOF) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	cmd.Process.Kill()
	wg.Wait()
}
