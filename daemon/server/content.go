package server

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/holdfast-backup/holdfast/daemon/access"
)

type diskIn struct {
	PointIn
	Disk  string `path:"disk" maxLength:"256" pattern:"^[^/\\x00-\\x1f\\x7f]+$" patternDescription:"a name of a disk" doc:"The disk's name." example:"vda"`
	Range string `header:"Range" maxLength:"4096" doc:"Which bytes; missing: all." example:"bytes=0-1048575"`
}

// registerContent adds the content of disks, the one thing here that is of guests.
func (s *Server) registerContent() {
	op := operationOf(s, "read-disk", http.MethodGet, "/vaults/{vault}/machines/{machine}/points/{point}/disks/{disk}", "points", "Read a disk",
		"The disk as its guest sees it, byte for byte; ranges are served. HEAD tells its size. Every byte is verified before it is sent; where the vault is damaged the answer breaks off. "+
			"Readings are in the audit log, those of one disk by one caller once in a few minutes.", access.Read)
	raw := map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	op.Responses["200"] = &huma.Response{Description: "The disk.", Content: raw}
	op.Responses["206"] = &huma.Response{Description: "A range of it.", Content: raw}
	huma.Register(s.api, op, func(ctx context.Context, in *diskIn) (*stream, error) {
		c := s.begin(ctx, "read-disk")
		disk, err := s.openDisk(ctx, c, in)
		if err != nil {
			c.end(true, err)
			return nil, failure{s.explain(err)}
		}
		if s.reads.first(c.who.Name+" "+in.Vault+" "+c.entry.Machine+" "+c.entry.Object, time.Now()) {
			c.end(true, nil)
		}
		return &stream{func(hc huma.Context) {
			defer disk.Close()
			r, w := humago.Unwrap(hc)
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("Cache-Control", "no-store")
			content := &section{disk: disk, size: disk.Size(), ctx: hc.Context()}
			http.ServeContent(w, r, "", time.Time{}, content)
			if content.failed != nil && hc.Context().Err() == nil {
				s.log.Warn("reading a disk broke off", "vault", in.Vault, "machine", in.Machine, "point", in.Point, "disk", in.Disk, "error", content.failed)
				panic(http.ErrAbortHandler) // what was sent must not look whole
			}
		}}, nil
	})
}

func (s *Server) openDisk(ctx context.Context, c *call, in *diskIn) (Disk, error) {
	c.entry.Object = in.Point + " " + in.Disk
	if err := c.allowed(ctx, access.Read, func() []need { return onMachine(access.Read, in.Vault, &in.Machine) }); err != nil {
		return nil, err
	}
	if s.c.OpenDisk == nil {
		return nil, notServed("the content of disks")
	}
	return s.c.OpenDisk(ctx, in.Vault, in.Machine, in.Point, in.Disk)
}

// section is a disk as http.ServeContent reads it. It ends with the request.
type section struct {
	disk      Disk
	size, pos int64
	ctx       context.Context
	failed    error
}

func (s *section) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.pos
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 {
		return 0, io.ErrUnexpectedEOF
	}
	s.pos = offset
	return offset, nil
}

func (s *section) Read(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	if s.pos >= s.size {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), s.size-s.pos)]
	n, err := s.disk.ReadAt(b, s.pos)
	s.pos += int64(n)
	if err != nil && err != io.EOF || n < len(b) {
		s.failed = err
		if err == nil || err == io.EOF {
			s.failed = io.ErrUnexpectedEOF
		}
		return n, s.failed
	}
	return n, nil
}

// reads remembers for a while what was read by whom, so that a reading in many ranges is one
// line of the audit log.
type reads struct {
	mu   sync.Mutex
	last map[string]time.Time
}

const sameReading = 5 * time.Minute

// first tells whether a reading is to be noted.
func (r *reads) first(what string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t, known := r.last[what]; known && now.Sub(t) < sameReading {
		return false
	}
	for k, t := range r.last {
		if now.Sub(t) >= sameReading || len(r.last) >= 1024 {
			delete(r.last, k)
		}
	}
	if r.last == nil {
		r.last = map[string]time.Time{}
	}
	r.last[what] = now
	return true
}
