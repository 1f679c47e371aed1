package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

type diskIn struct {
	DiskIn
	Into  string `header:"Holdfast-Into" maxLength:"64" doc:"Where in shared memory the range goes: NAME OFFSET (see share-memory)."`
	Range string `header:"Range" maxLength:"4096" doc:"Which bytes; missing: all." example:"bytes=0-1048575"`
}

// registerContent adds the content of disks, the one thing here that is of guests.
func (s *Server) registerContent() {
	op := operationOf(s, "read-disk", http.MethodGet, "/vaults/{vault}/machines/{machine}/points/{point}/disks/{disk}", "points", "Read a disk",
		"The disk as its guest sees it, byte for byte; ranges are served. HEAD tells its size. Every byte is verified before it is sent; where the vault is damaged the answer breaks off. "+
			"Readings are in the audit log, those of one disk by one caller for one purpose (header "+api.PurposeHeader+") once in a few minutes.", access.Read)
	raw := map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	op.Responses["200"] = &huma.Response{Description: "The disk.", Content: raw}
	op.Responses["206"] = &huma.Response{Description: "A range of it.", Content: raw}
	huma.Register(s.api, op, func(ctx context.Context, in *diskIn) (*stream, error) {
		c := s.begin(ctx, "read-disk")
		disk, err := s.openDisk(ctx, c, in)
		if err != nil {
			c.end(true, err)
			return nil, failure{c.explain(err)}
		}
		c.read()
		return &stream{func(hc huma.Context) {
			defer disk.Close()
			r, w := humago.Unwrap(hc)
			if in.Into != "" {
				if err := s.into(w, in, disk, c.who.Name); err != nil {
					send(w, c.explain(err))
				}
				return
			}
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("Cache-Control", "no-store")
			content := &section{disk: disk, size: disk.Size(), ctx: hc.Context()}
			if err := content.prime(in.Range); err != nil && r.Method != http.MethodHead {
				s.log.Warn("a disk cannot be read", "vault", in.Vault, "machine", in.Machine, "point", in.Point, "disk", in.Disk, "error", err)
				send(w, c.explain(err))
				return
			}
			http.ServeContent(&ranged{ResponseWriter: w}, r, "", time.Time{}, content)
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
	disk      io.ReaderAt
	size, pos int64
	ctx       context.Context
	failed    error
	first     []byte // what was read before the answer began
	firstAt   int64
}

// primed is how much of what is asked for is read before the answer begins, in bytes: where
// that cannot be read the answer is a problem, which says why.
const primed = 64 << 10

// prime reads the beginning of a range. What is no range of one piece is for the library to say.
func (s *section) prime(want string) error {
	var from, to int64 = 0, s.size - 1
	if n, _ := fmt.Sscanf(want, "bytes=%d-%d", &from, &to); want != "" && n == 0 || from < 0 || from >= s.size || to < from {
		return nil
	}
	first := make([]byte, min(primed, to-from+1, s.size-from))
	n, err := s.disk.ReadAt(first, from)
	if n < len(first) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read it at %d: %w", from, err)
	}
	s.first, s.firstAt = first, from
	return nil
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
	if s.ctx.Err() != nil {
		s.failed = context.Cause(s.ctx)
		return 0, s.failed
	}
	if s.pos >= s.size {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), s.size-s.pos)]
	if at := s.pos - s.firstAt; s.first != nil && at >= 0 && at < int64(len(s.first)) {
		n := copy(b, s.first[at:])
		s.pos += int64(n)
		return n, nil
	}
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
