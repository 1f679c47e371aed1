package fusefs

import (
	"context"
	"encoding/json"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// pointJSONNode is point.json: what [Options.Describe] says of the point, made
// when first asked for its size.
type pointJSONNode struct {
	fs.Inode
	t *tree
	p *blockstore.Point

	once sync.Once // makes text, err
	text []byte
	err  error
}

var (
	_ fs.NodeGetattrer = (*pointJSONNode)(nil)
	_ fs.NodeOpener    = (*pointJSONNode)(nil)
)

func (n *pointJSONNode) render() ([]byte, syscall.Errno) {
	n.once.Do(func() {
		n.text, n.err = json.MarshalIndent(n.t.o.Describe(n.p), "", "  ")
		n.text = append(n.text, '\n')
	})
	return n.text, n.t.errno(n.err, n.p, pointJSONName)
}

func (n *pointJSONNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	text, errno := n.render()
	if errno != 0 {
		return errno
	}
	size := int64(len(text))
	n.t.file(&out.Attr, size, size, n.p.Time)
	out.SetTimeout(forever)
	return 0
}

func (n *pointJSONNode) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	text, errno := n.render()
	return bytesFile(text), fuse.FOPEN_KEEP_CACHE, errno
}

// bytesFile is an open file that lies in memory until it is closed.
type bytesFile []byte

var _ fs.FileReader = bytesFile(nil)

func (f bytesFile) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if off < 0 || off >= int64(len(f)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(f[off:min(off+int64(len(dest)), int64(len(f)))]), 0
}
