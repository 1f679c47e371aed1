package guestfs

import (
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/btrfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/exfat"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/ext"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/fat"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/iso9660"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/ntfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/squashfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/udf"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/xfs"
)

// formats are the file systems that are read. Adding one is a folder and a line. UDF
// comes before ISO 9660, since discs that are both have all of their files in it.
var formats = []tree.Format{ext.Format, xfs.Format, ntfs.Format, fat.Format, btrfs.Format, exfat.Format, udf.Format, iso9660.Format, squashfs.Format}
