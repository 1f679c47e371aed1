package ext

import (
	"bytes"
	"fmt"
	"io/fs"
)

// Readlink returns the target of a symbolic link. A short one lies in the inode
// in place of the map of blocks.
func (v *volume) Readlink(ino uint64) (string, error) {
	in, err := v.inode(ino)
	if err != nil {
		return "", err
	}
	if in.kind() != modeLink {
		return "", fmt.Errorf("read link %d: not a symbolic link: %w", ino, fs.ErrInvalid)
	}
	if in.has(flagEncrypted) {
		return "", encrypted(in.number, "target")
	}
	size, err := v.sizeOf(&in)
	if err != nil {
		return "", err
	}
	if size == 0 || size > v.sb.blockSize {
		return "", damagedInode(in.number, "a symbolic link of %d bytes", size)
	}
	target := make([]byte, size)
	if v.shortLink(&in, size) {
		copy(target, in.raw[wordsAt:wordsAt+wordsSize])
	} else {
		f, err := v.content(&in)
		if err != nil {
			return "", err
		}
		if n, err := f.ReadAt(target, 0); n < len(target) {
			return "", fmt.Errorf("read link %d: %w", ino, err)
		}
	}
	if bytes.IndexByte(target, 0) >= 0 {
		return "", damagedInode(in.number, "its target has a zero byte")
	}
	return string(target), nil
}

// shortLink: a link that has no blocks but perhaps one of attributes.
func (v *volume) shortLink(in *inode, size int64) bool {
	if size >= wordsSize || in.has(flagInline) {
		return false
	}
	var attributes int64
	if in.xattrBlock() != 0 {
		attributes = v.sb.clusterSize
	}
	return !in.has(flagExtents) || v.allocated(in) <= attributes
}
