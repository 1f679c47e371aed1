package ext

import (
	"fmt"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

func damagedInode(ino uint32, format string, args ...any) error {
	return &tree.CorruptError{What: fmt.Sprintf("inode %d", ino), Why: fmt.Sprintf(format, args...), At: -1}
}

func damagedBlock(b, blocks uint64) error {
	return &tree.CorruptError{What: "a reference to a block", Why: fmt.Sprintf("block %d of a volume of %d", b, blocks), At: -1}
}

func readError(b uint64, size int64, err error) error {
	return fmt.Errorf("read block %d, at %d of the volume: %w", b, int64(b)*size, err)
}

func (v *volume) damagedAt(b uint64, what, format string, args ...any) error {
	return &tree.CorruptError{What: what, Why: fmt.Sprintf(format, args...), At: int64(b) * v.sb.blockSize}
}
