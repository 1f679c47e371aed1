package service

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/extract"
)

// largestZip is how many entries a zip archive may have: it keeps all of them in memory until its end.
const largestZip = 100_000

// GuestArchive calls do with an archive, of one of the formats of package api, of a folder or file, which is made as do
// reads it. What cannot be taken is told by a file at the archive's end, and counted; zeros stand for content that is
// damaged. Reading it fails soon after somebody needs the vault alone, and when the context ends that do is given.
func (s *Service) GuestArchive(ctx context.Context, at api.GuestAt, format string, do func(context.Context, api.GuestArchive) error) error {
	write, o := extract.Tar, extract.Options{}
	switch format {
	case api.Tar:
	case api.SparseTar:
		format, o.Sparse = api.Tar, true
	case api.Zip:
		write, o.Entries = extract.Zip, largestZip
	default:
		return invalidf("%.20q is no format of archives: tar, sparse-tar and zip are", format)
	}
	return whileOpen(ctx, s, at, func(ctx context.Context, g *guest) (a api.GuestArchive, wait func(), err error) {
		p, err := g.find(at)
		if err != nil {
			return a, nil, err
		}
		if _, err := p.Stat(); err != nil {
			return a, nil, err
		}
		var failed atomic.Int64
		o.Last = func(r extract.Result) (string, []byte) {
			failed.Store(r.Failed)
			return problemsOf(g, r)
		}
		a = api.GuestArchive{Point: string(g.point.ID), Folder: DescribeFile(p, p.Path, nil), Format: format, Failed: failed.Load}
		a.Reader, wait = s.produce(ctx, g, func(w io.Writer) error {
			_, err := write(ctx, w, []guestfs.Place{p}, o)
			return err
		})
		return a, wait, nil
	}, do)
}

// produce returns what write writes. It ends with ctx: who reads then gets an error at once, and wait returns when write has.
func (s *Service) produce(ctx context.Context, g *guest, write func(io.Writer) error) (r io.Reader, wait func()) {
	from, to := io.Pipe()
	over := make(chan struct{})
	go func() {
		defer close(over)
		w := bufio.NewWriterSize(to, 256<<10)
		err := s.contained(g, func() error { return write(w) })
		if err == nil {
			err = w.Flush()
		}
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		to.CloseWithError(err)
	}()
	stop := context.AfterFunc(ctx, func() { to.CloseWithError(context.Cause(ctx)) }) // no later error takes its place
	return from, func() {
		stop()
		err := context.Cause(ctx)
		if err == nil {
			err = io.ErrClosedPipe // nobody reads any more
		}
		to.CloseWithError(err)
		<-over
	}
}

// problemsOf is the file that ends an archive of which something is not as it was in the guest.
func problemsOf(g *guest, r extract.Result) (name string, text []byte) {
	if r.Failed == 0 {
		return "", nil
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "Holdfast: %d paths of this archive were not taken, or not as they are in the guest.\n\n", r.Failed)
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "%s: %s\n", strings.ToValidUTF8(p.Path, "�"), strings.ToValidUTF8(p.Err.Error(), "�"))
	}
	if more := r.Failed - int64(len(r.Problems)); more > 0 {
		fmt.Fprintf(&b, "and %d more\n", more)
	}
	return fmt.Sprintf("HOLDFAST-PROBLEMS-%s.txt", g.point.ID), b.Bytes()
}
