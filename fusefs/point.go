package fusefs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// The names in a point's folder.
const (
	pointJSONName = "point.json"
	configName    = "config"
	disksName     = "disks"
	// files: files.go
)

// pointNode is a point's folder: point.json, config, disks and files. It holds the point
// itself, so what it shows never changes, and outlives the point.
type pointNode struct {
	fs.Inode
	t *tree
	p *blockstore.Point
}

var (
	_ fs.NodeGetattrer = (*pointNode)(nil)
	_ fs.NodeLookuper  = (*pointNode)(nil)
	_ fs.NodeReaddirer = (*pointNode)(nil)
)

func pointStable(p *blockstore.Point) fs.StableAttr {
	return fs.StableAttr{Mode: fuse.S_IFDIR, Ino: ino(kindPoint, string(p.ID), "")}
}

func (n *pointNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.t.dir(&out.Attr, 3, n.p.Time)
	out.SetTimeout(forever)
	return 0
}

func (n *pointNode) stable(name string) fs.StableAttr {
	id := string(n.p.ID)
	switch name {
	case pointJSONName:
		return fs.StableAttr{Mode: fuse.S_IFREG, Ino: ino(kindPointJSON, id, "")}
	case configName:
		return fs.StableAttr{Mode: fuse.S_IFDIR, Ino: ino(kindConfigs, id, "")}
	case filesName:
		return fs.StableAttr{Mode: fuse.S_IFDIR, Ino: ino(kindFiles, id, "")}
	}
	return fs.StableAttr{Mode: fuse.S_IFDIR, Ino: ino(kindDisks, id, "")}
}

func (n *pointNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	var c node
	switch name {
	case pointJSONName:
		c = &pointJSONNode{t: n.t, p: n.p}
	case configName:
		c = &configsNode{t: n.t, p: n.p}
	case disksName:
		c = &disksNode{t: n.t, p: n.p}
	case filesName:
		c = &filesNode{t: n.t, p: n.p}
	default:
		return nil, syscall.ENOENT
	}
	return child(ctx, &n.Inode, c, n.stable(name), out, forever)
}

func (n *pointNode) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	return fs.NewListDirStream([]fuse.DirEntry{
		entry(configName, n.stable(configName)),
		entry(disksName, n.stable(disksName)),
		entry(filesName, n.stable(filesName)),
		entry(pointJSONName, n.stable(pointJSONName)),
	}), 0
}
