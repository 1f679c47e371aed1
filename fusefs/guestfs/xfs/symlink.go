package xfs

import (
	"fmt"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	magicLink    = 0x58534c4d // "XSLM"
	remoteHeader = 56         // before each part of a link's target or a value
	maxLink      = 1024
)

// Readlink implements tree.FileSystem.
func (v *volume) Readlink(ino uint64) (string, error) {
	i, err := v.inode(ino)
	if err != nil {
		return "", err
	}
	if !i.is(typeLink) {
		return "", &tree.UnsupportedError{What: inodeName(ino), Why: "it is not a symbolic link"}
	}
	if i.size == 0 || i.size > maxLink {
		return "", i.bad("the target of a link has %d bytes", i.size)
	}
	f, err := v.data(i)
	if err != nil {
		return "", err
	}
	if f.local != nil {
		if int(i.size) > len(f.local) {
			return "", i.bad("the target of the link does not fit into it")
		}
		return string(f.local[:i.size]), nil
	}
	return v.farLink(i, f)
}

// farLink reads a target that lies in blocks: on version 5 a header before the
// part that each extent holds (xfs_dsymlink_hdr).
func (v *volume) farLink(i *inode, f *fork) (string, error) {
	var target []byte
	for block := uint64(0); len(target) < int(i.size); {
		e, ok, err := f.find(block)
		if err != nil {
			return "", err
		}
		if !ok || e.off != block || e.n > 2*maxLink/minBlock {
			return "", i.bad("the target of the link is not all there")
		}
		p, err := f.meta(block, int(e.n)*v.block)
		if err != nil {
			return "", err
		}
		part := p.b
		if v.v5 {
			n := int64(be.Uint32(p.b[8:]))
			if be.Uint32(p.b) != magicLink || n == 0 || n > int64(len(p.b)-remoteHeader) || int(be.Uint32(p.b[4:])) != len(target) {
				return "", corrupt(fmt.Sprintf("the target of link inode %d", i.number), p.at, "no part of it lies there")
			}
			if err := v.check(p, stampRemote, "the target of link "+inodeName(i.number)); err != nil {
				return "", err
			}
			part = p.b[remoteHeader:][:n]
		}
		target = append(target, part[:min(len(part), int(i.size)-len(target))]...)
		block = e.end()
	}
	return string(target), nil
}
