package server

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// Files are the files of guests.
type Files interface {
	api.Files

	// GuestContent calls do with the content of a file, or of one of its streams, which can be read until do
	// returns or its context ends.
	GuestContent(ctx context.Context, at api.GuestAt, stream string, do func(context.Context, api.GuestContent) error) error

	// GuestArchive calls do with an archive, in a format of package api, of a folder or file. An error of reading it says
	// that it is not whole.
	GuestArchive(ctx context.Context, at api.GuestAt, format string, do func(context.Context, api.GuestArchive) error) error
}

type contentIn struct {
	GuestIn
	Stream string `query:"stream" maxLength:"1024" doc:"One of the further contents that a file of NTFS can have; missing: its own." example:"Zone.Identifier"`
	Range  string `header:"Range" maxLength:"4096" doc:"Which bytes; missing: all." example:"bytes=0-1048575"`
}

type archiveIn struct {
	GuestIn
	Format string `query:"format" enum:"tar,sparse-tar,zip" doc:"Missing: tar, which keeps owners, links and attributes; sparse-tar leaves holes of files out, which GNU tar and bsdtar read."`
}

// registerDownloads adds what of guests' files is no JSON.
func (s *Server) registerDownloads() {
	op := operationOf(s, "download-file", http.MethodGet, ofPoint+"/files/content", "files", "Download a file of a guest",
		"Its content, holes as zeros; ranges are served, with an ETag for If-Range, since a point never changes. HEAD tells its size. Where it is damaged the answer breaks off. "+
			"Downloads are in the audit log, those of one file by one caller once in a few minutes.", access.Read)
	answersBytes(&op, "The file.", "application/octet-stream")
	op.Responses["206"] = &huma.Response{Description: "A range of it.", Content: op.Responses["200"].Content}
	huma.Register(s.api, op, func(ctx context.Context, in *contentIn) (*stream, error) {
		return s.download(ctx, &in.GuestIn, "download-file", func(ctx context.Context, at api.GuestAt, d *download) error {
			return s.c.Files.GuestContent(ctx, at, in.Stream, func(ctx context.Context, c api.GuestContent) error {
				from := &section{disk: c, size: c.Size, ctx: ctx}
				if d.r.Method != http.MethodHead {
					if err := from.prime(in.Range); err != nil {
						return err
					}
				}
				d.begins(at, c.Point, &c.File, in.Stream)
				return d.content(from, c, in.Stream)
			})
		})
	})
	op = operationOf(s, "download-folder", http.MethodGet, ofPoint+"/files/archive", "files", "Download a folder of a guest",
		"An archive of a folder or file, made as it is sent. Zeros stand for content that is damaged; what was not taken as it is, that among it, is listed in a file at the archive's end, "+
			"HOLDFAST-PROBLEMS-POINT.txt, and counted in the trailer "+api.ProblemsTrailer+". What ends it otherwise breaks off the answer.", access.Read)
	answersBytes(&op, "The archive.", "application/x-tar", "application/zip")
	huma.Register(s.api, op, func(ctx context.Context, in *archiveIn) (*stream, error) {
		if in.Format == "" {
			in.Format = api.Tar
		}
		return s.download(ctx, &in.GuestIn, "download-folder", func(ctx context.Context, at api.GuestAt, d *download) error {
			return s.c.Files.GuestArchive(ctx, at, in.Format, func(_ context.Context, a api.GuestArchive) error {
				d.begins(at, a.Point, &a.Folder, "")
				return d.archive(a, in)
			})
		})
	})
}

// answersBytes says of an operation that it answers with other than JSON.
func answersBytes(op *huma.Operation, what string, types ...string) {
	content := map[string]*huma.MediaType{}
	for _, t := range types {
		content[t] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
	}
	op.Responses["200"] = &huma.Response{Description: what, Content: content}
}

// download is one on its way.
type download struct {
	s     *Server
	c     *call
	w     http.ResponseWriter
	r     *http.Request
	began bool // something of the answer was sent, or may have been
}

// download asks whether the caller may have something of a guest, and then has do send it.
func (s *Server) download(ctx context.Context, in *GuestIn, id string, do func(context.Context, api.GuestAt, *download) error) (*stream, error) {
	c := s.begin(ctx, id)
	c.entry.Object = guestObject(in.at())
	leave, err := c.mayDownload(ctx, in)
	if err != nil {
		c.end(true, err)
		return nil, failure{c.explain(err)}
	}
	return &stream{func(hc huma.Context) {
		defer leave()
		r, w := humago.Unwrap(hc)
		d := &download{s: s, c: c, w: w, r: r}
		d.ended(do(hc.Context(), in.at(), d))
	}}, nil
}

func (c *call) mayDownload(ctx context.Context, in *GuestIn) (leave func(), err error) {
	if err := c.allowed(ctx, access.Read, func() []need { return onMachine(access.Read, in.Vault, &in.Machine) }); err != nil {
		return nil, err
	}
	if c.s.c.Files == nil {
		return nil, notServed("files of guests")
	}
	_, leave, ok := c.s.downloads.enter(c.who.Name)
	if !ok {
		return nil, tooMany(nil, 10*time.Second, "too much is downloaded at once")
	}
	return leave, nil
}

// begins notes in the audit log what is downloaded, before any of it is sent.
func (d *download) begins(at api.GuestAt, point string, f *api.GuestFile, stream string) {
	at.Point, at.Path = point, exactPath(f)
	if stream != "" {
		at.Path += ":" + stream
	}
	d.c.looked(at)
	d.c.end(true, nil)
	d.began = true
	h := d.w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'") // whatever it is, it is nothing of the daemon's
}

// content sends a file, or ranges of it.
func (d *download) content(from *section, c api.GuestContent, stream string) error {
	name, h := c.File.Name, d.w.Header()
	if stream != "" {
		name += "_" + stream
	}
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", attachment(name))
	h.Set("ETag", strconv.Quote(c.Tag))
	if c.File.Modified != nil {
		h.Set("Last-Modified", c.File.Modified.UTC().Format(http.TimeFormat))
	}
	http.ServeContent(&ranged{ResponseWriter: d.w}, d.r, "", time.Time{}, from) // without a time: only the tag tells contents apart
	return from.failed
}

// archive sends an archive.
func (d *download) archive(a api.GuestArchive, in *archiveIn) error {
	h := d.w.Header()
	name := a.Folder.Name
	if name == "/" || name == "" {
		name = d.c.entry.Machine
		if in.Volume != "" {
			name = in.Volume
		}
	}
	h.Set("Content-Disposition", attachment(name+"."+a.Format))
	h.Set("Content-Type", map[string]string{api.Tar: "application/x-tar", api.Zip: "application/zip"}[a.Format])
	h.Set("Trailer", api.ProblemsTrailer)
	_, err := io.CopyBuffer(d.w, a.Reader, make([]byte, 256<<10))
	if err == nil {
		h.Set(api.ProblemsTrailer, strconv.FormatInt(a.Failed(), 10))
	}
	return err
}

// ended says how it ended: with a problem, where nothing was sent yet; else by breaking the answer off, so that
// what was sent does not look whole.
func (d *download) ended(err error) {
	switch {
	case err == nil:
	case !d.began:
		d.c.end(true, err)
		send(d.w, d.c.explain(err))
	case d.r.Context().Err() != nil: // the client is gone
		panic(http.ErrAbortHandler)
	default:
		d.c.quiet = false
		d.c.end(true, err)
		d.s.log.Warn("a download broke off", "vault", d.c.entry.Vault, "machine", d.c.entry.Machine, "object", d.c.entry.Object, "error", err)
		panic(http.ErrAbortHandler)
	}
}

// ranged answers with a problem, as everything does, where a range cannot be served.
type ranged struct {
	http.ResponseWriter
	refused bool
}

func (w *ranged) WriteHeader(status int) {
	if status != http.StatusRequestedRangeNotSatisfiable {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.refused = true
	w.Header().Del("Content-Disposition")
	send(w.ResponseWriter, badRequest(status, strings.TrimSpace("there is no such range in it "+w.Header().Get("Content-Range")), ""))
}

func (w *ranged) Write(b []byte) (int, error) {
	if w.refused {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// ReadFrom lets what is below choose the size of pieces.
func (w *ranged) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(w.ResponseWriter, r)
}
