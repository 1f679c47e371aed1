package ext

import (
	"bytes"
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	direntHeader = 8
	tailType     = 0xDE // an entry that holds a block's checksum
	tailSize     = 12
)

// fileTypes are the kinds in an entry, as S_IFMT bits.
var fileTypes = [8]uint32{0, modeFile, modeDir, modeChar, modeBlock, modeFifo, modeSock, modeLink}

// dirent is an entry as it lies there; its name belongs to the cache.
type dirent struct {
	name  []byte
	ino   uint32
	kind  uint32
	block uint64 // of the folder
}

// folder reads an inode that must be one.
func (v *volume) folder(ino uint64) (inode, error) {
	in, err := v.inode(ino)
	if err != nil {
		return inode{}, err
	}
	if in.kind() != modeDir {
		return inode{}, fmt.Errorf("inode %d is not a folder: %w", ino, fs.ErrInvalid)
	}
	return in, nil
}

// ReadDir yields the entries of a folder. Encrypted names are shown as
// "_encrypted_" and the stored bytes in base64. A damaged block of a folder costs
// its own entries: the others are yielded, and then the error.
func (v *volume) ReadDir(dir uint64) iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		in, err := v.folder(dir)
		if err != nil {
			yield(tree.Entry{}, err)
			return
		}
		stopped := false
		err = v.entries(&in, func(d dirent) bool {
			stopped = !yield(v.entry(&in, d))
			return !stopped
		})
		if err != nil && !stopped {
			yield(tree.Entry{}, fmt.Errorf("folder %d: %w", dir, err))
		}
	}
}

// entry makes of a stored entry what others may see, and judges it.
func (v *volume) entry(in *inode, d dirent) (tree.Entry, error) {
	e := tree.Entry{Name: v.shownName(in, d.name), Ino: uint64(d.ino), Type: d.kind}
	if strings.ContainsAny(e.Name, "/\x00") {
		bad := e.Name
		e.Name = strings.NewReplacer("/", "\uFFFD", "\x00", "\uFFFD").Replace(bad)
		return e, damagedInode(in.number, "the folder has an entry named %q", bad)
	}
	if !v.sb.visible(d.ino) {
		return e, damagedInode(in.number, "the entry %q is of inode %d", e.Name, d.ino)
	}
	return e, nil
}

func (v *volume) shownName(in *inode, name []byte) string {
	if in.has(flagEncrypted) {
		return escapeEncrypted(name)
	}
	return string(name)
}

// entries calls visit for each entry but "." and "..", until it returns false. It
// passes over blocks that are damaged and returns the first damage.
func (v *volume) entries(in *inode, visit func(dirent) bool) error {
	delta := v.fast.folder(in.number)
	if delta == nil {
		_, err := v.stored(in, visit)
		return err
	}
	more := true
	var err error
	if !delta.fresh {
		more, err = v.stored(in, func(d dirent) bool {
			_, changed := delta.names[string(d.name)]
			return changed || visit(d)
		})
	}
	for _, name := range delta.order {
		if f := delta.names[name]; more && f.ino != 0 {
			more = visit(dirent{name: []byte(name), ino: f.ino, kind: f.kind})
		}
	}
	return err
}

// stored visits what lies on the volume, and returns whether it saw all of it.
func (v *volume) stored(in *inode, visit func(dirent) bool) (all bool, err error) {
	if in.has(flagInline) {
		return v.inlineEntries(in, visit)
	}
	m, err := v.mapping(in)
	if err != nil {
		return true, err
	}
	size, err := v.sizeOf(in)
	if err != nil {
		return true, err
	}
	total := uint64(size / v.sb.blockSize)
	seen := uint64(0)
	for at := uint64(0); at < total; {
		r, runErr := v.at(&m, at)
		if runErr == nil && !r.data && v.fast == nil {
			runErr = damagedInode(in.number, "the folder has a hole at block %d", at)
		}
		if err == nil {
			err = runErr
		}
		if runErr != nil && r.count == 0 {
			return true, err // what lies behind it cannot be found
		}
		end := min(r.end(), total)
		for ; r.data && at < end; at++ {
			if seen++; seen > v.present() {
				return true, damagedInode(in.number, "the folder has more blocks than the volume")
			}
			more, blockErr := v.blockEntries(in, at, r.physical+at-r.logical, visit)
			if err == nil {
				err = blockErr
			}
			if !more {
				return false, nil
			}
		}
		at = end
	}
	return true, err
}

// blockEntries visits the entries of one block of a folder.
func (v *volume) blockEntries(in *inode, logical, physical uint64, visit func(dirent) bool) (more bool, err error) {
	b, err := v.folderBlock(in, logical, physical)
	if err != nil {
		return true, err
	}
	return v.walkEntries(in, b, logical, visit)
}

// walkEntries steps through a chain of entries; no step is shorter than an entry.
func (v *volume) walkEntries(in *inode, b []byte, logical uint64, visit func(dirent) bool) (more bool, err error) {
	for at := 0; at+direntHeader <= len(b); {
		length := v.recordLength(b[at:])
		d := dirent{ino: le.Uint32(b[at:]), block: logical}
		n := int(b[at+6])
		if v.sb.incompat&incompatFiletype != 0 {
			d.kind = fileTypes[b[at+7]&7]
		}
		if length < direntHeader || length&3 != 0 || length > len(b)-at || n > length-direntHeader {
			return true, damagedInode(in.number, "block %d of the folder: an entry at %d of %d bytes, its name of %d", logical, at, length, n)
		}
		d.name = b[at+direntHeader:][:n]
		at += length
		if d.ino == 0 || n == 1 && d.name[0] == '.' || n == 2 && d.name[0] == '.' && d.name[1] == '.' {
			continue
		}
		if n == 0 {
			return true, damagedInode(in.number, "block %d of the folder: an entry without a name", logical)
		}
		if !visit(d) {
			return false, nil
		}
	}
	return true, nil
}

// recordLength decodes the length of an entry: in blocks of 64 KiB, which 16 bits
// cannot count, the two lowest bits are the highest.
func (v *volume) recordLength(b []byte) int {
	n := int(le.Uint16(b[4:]))
	if v.sb.blockSize < 1<<16 {
		return n
	}
	if n == 0 || n == 0xFFFF {
		return 1 << 16
	}
	return n&^3 | n&3<<16
}

// inlineEntries visits a folder that lies in its inode: the parent's number and
// entries in place of the map, more of them as the attribute system.data.
func (v *volume) inlineEntries(in *inode, visit func(dirent) bool) (all bool, err error) {
	words, more, err := v.inlineParts(in)
	if err != nil {
		return true, err
	}
	goOn, err := v.walkEntries(in, words[4:], 0, visit)
	if !goOn || len(more) == 0 {
		return goOn, err
	}
	goOn, again := v.walkEntries(in, more, 1, visit)
	if err == nil {
		err = again
	}
	return goOn, err
}

// folderBlock reads a block of a folder and verifies its checksum once.
func (v *volume) folderBlock(in *inode, logical, physical uint64) ([]byte, error) {
	b, mark, err := v.block(physical)
	if err != nil {
		return nil, err
	}
	if !v.sb.hasCsum() {
		return b, nil
	}
	verified := v.markOf(verdict{kind: markFolder, ino: in.number, low: logical})
	if mark.Load() != verified {
		if !v.folderSum(in, b) {
			return nil, v.damagedAt(physical, fmt.Sprintf("block %d of folder %d", logical, in.number), "it has another checksum")
		}
		mark.Store(verified)
	}
	return b, nil
}

// folderSum verifies the checksum of a block of a folder: behind the pairs of a
// block of the hash tree, else in an entry without a name at the end of it.
func (v *volume) folderSum(in *inode, b []byte) bool {
	if n, ok := openHashNode(b, v.recordLength); ok {
		return n.sum(in.seed) == n.storedSum()
	}
	tail := b[len(b)-tailSize:]
	if !bytes.Equal(tail[:8], []byte{0, 0, 0, 0, tailSize, 0, 0, tailType}) {
		return false
	}
	return crc32c(in.seed, b[:len(b)-tailSize]) == le.Uint32(tail[8:])
}
