package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// A client of this host may have what it reads of disks written into memory that it shares, rather than sent over
// the socket, which takes half of the time. The memory is written by pwrite(2) and never mapped nor read here, so that
// nothing that the client does to it meanwhile does any harm; and it is memory, so that writing it waits for nobody.

// windows are the memories that clients share, by their names.
type windows struct {
	gate gate

	mu sync.Mutex
	of map[string]*window
}

type window struct {
	who  string
	file *os.File
	size int64
}

// Bounds of shared memory.
const (
	mostWindows   = 16 // at once; half of them of one caller
	largestWindow = 8 << 20

	// warm is how much is decoded before it is written, in bytes: it lies in a cache of the processor then.
	warm = 256 << 10
)

func (ws *windows) open(w *window) (name string) {
	var b [16]byte
	rand.Read(b[:]) // never fails
	name = hex.EncodeToString(b[:])
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.of == nil {
		ws.of = map[string]*window{}
	}
	ws.of[name] = w
	return name
}

func (ws *windows) close(name string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.of, name)
}

// find returns the part of a memory that a request names, NAME OFFSET, from its offset on.
func (ws *windows) find(who, text string) (*window, int64, error) {
	name, at, _ := strings.Cut(text, " ")
	ws.mu.Lock()
	w := ws.of[name]
	ws.mu.Unlock()
	if w == nil || w.who != who {
		return nil, 0, &api.Problem{Status: http.StatusGone, Exit: exitNotFound, Kind: api.KindNoMemory, Detail: "there is no such shared memory, or not any more"}
	}
	off, err := strconv.ParseInt(at, 10, 64)
	if err != nil || off < 0 || off >= w.size {
		return nil, 0, badRequest(http.StatusUnprocessableEntity, "that is no place in the shared memory", "write NAME OFFSET")
	}
	return w, off, nil
}

// registerWindows adds the sharing of memory, an answer that lasts as long as that.
func (s *Server) registerWindows() {
	op := operationOf(s, "share-memory", http.MethodPost, "/memory", "points", "Share memory",
		"Memory (memfd_create(2)) that comes with the first byte of the connection's first request, over the Unix socket (SCM_RIGHTS). The first line of the answer names it; "+
			"read-disk then writes into it where the header `"+api.IntoHeader+"` says `NAME OFFSET`, and answers 204. It is shared until the connection ends; a blank line now and then is a sign of life.", access.Read)
	op.Responses["200"] = &huma.Response{Description: "It is shared.", Content: map[string]*huma.MediaType{"application/x-ndjson": {
		Schema: &huma.Schema{Type: huma.TypeString}, Example: "{\"memory\":\"5f0c\"}\n\n\n"}}}
	huma.Register(s.api, op, func(ctx context.Context, _ *struct{}) (*stream, error) {
		c := s.begin(ctx, "share-memory")
		name, leave, err := s.share(ctx, c)
		c.end(false, err)
		if err != nil {
			return nil, failure{c.explain(err)}
		}
		return &stream{func(hc huma.Context) {
			defer leave()
			b, _ := json.Marshal(api.SharedMemory{Memory: name}) // never fails
			s.last(hc, &s.windows.gate, string(b)+"\n", func() bool { return c.again() && c.who.MaySome(access.Read) })
		}}, nil
	})
}

// share takes the memory that came with a request.
func (s *Server) share(ctx context.Context, c *call) (name string, leave func(), err error) {
	if err := c.allowed(ctx, access.Read, func() []need { return nil }); err != nil {
		return "", nil, err
	}
	p, _ := ctx.Value(peerKey).(peer)
	if p.hand == nil {
		return "", nil, badRequest(http.StatusUnprocessableEntity, "memory is shared over the Unix socket of this host alone", "")
	}
	files, refused := p.hand.take()
	drop := func() { p.hand.held.close(p.hand.owner, files) }
	if refused != "" || len(files) != 1 {
		drop()
		return "", nil, badRequest(http.StatusUnprocessableEntity, strings.TrimSpace("one memory is to come with the request. "+refused), "")
	}
	size, err := memorySize(files[0])
	if err != nil {
		drop()
		return "", nil, badRequest(http.StatusUnprocessableEntity, err.Error(), "make it with memfd_create, of at most 8 MiB")
	}
	_, out, ok := s.windows.gate.enter(c.who.Name)
	if !ok {
		drop()
		return "", nil, tooMany(nil, s.limits.Beat, "too much memory is shared already")
	}
	name = s.windows.open(&window{c.who.Name, files[0], size})
	return name, func() {
		s.windows.close(name)
		drop()
		out()
	}, nil
}

// memorySize refuses what is no memory: only that has seals (fcntl(2)), and writing to another file could wait for
// whoever serves it. A file of a tmpfs has them too, and a name, under which it may be more than the client's.
func memorySize(f *os.File) (int64, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	var st unix.Stat_t
	if err := raw.Control(func(fd uintptr) {
		if _, failed = unix.FcntlInt(fd, unix.F_GET_SEALS, 0); failed == nil {
			failed = unix.Fstat(int(fd), &st)
		}
	}); err != nil {
		return 0, err
	}
	if failed != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 0 || st.Size <= 0 || st.Size > largestWindow {
		return 0, fmt.Errorf("what came with the request is no memory of 1 to %d bytes", largestWindow)
	}
	return st.Size, nil
}

// into writes a range of a disk into shared memory.
func (s *Server) into(w http.ResponseWriter, in *diskIn, disk Disk, who string) error {
	mem, at, err := s.windows.find(who, in.Into)
	if err != nil {
		return err
	}
	var from, to int64
	if n, _ := fmt.Sscanf(in.Range, "bytes=%d-%d", &from, &to); n != 2 || from < 0 || to < from || to >= disk.Size() || to-from >= mem.size-at {
		return badRequest(http.StatusRequestedRangeNotSatisfiable, "that is no range of the disk which fits into the shared memory", "")
	}
	buf := pieces.Get().(*[]byte)
	defer pieces.Put(buf)
	for pos := from; pos <= to; {
		part := (*buf)[:min(warm, to-pos+1)]
		n, err := disk.ReadAt(part, pos)
		if n < len(part) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("read the disk at %d: %w", pos, err)
		}
		if _, err := mem.file.WriteAt(part, at+pos-from); err != nil {
			return badRequest(http.StatusUnprocessableEntity, "the shared memory cannot be written to", "")
		}
		pos += int64(n)
	}
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, disk.Size()))
	w.WriteHeader(http.StatusNoContent)
	return nil
}
