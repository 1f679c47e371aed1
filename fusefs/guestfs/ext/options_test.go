package ext

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// kernelOptions are file systems that the kernel mounts and writes itself.
var kernelOptions = []struct{ name, options string }{
	{"ext4", "-t ext4 -b 4096"},
	{"ext4 with blocks of 1 KiB", "-t ext4 -b 1024"},
	{"ext4 with blocks of 2 KiB and large inodes", "-t ext4 -b 2048 -I 1024"},
	{"ext4 with small inodes", "-t ext4 -b 4096 -I 128 -O ^metadata_csum"},
	{"ext4 without checksums", "-t ext4 -b 4096 -O ^metadata_csum,^64bit"},
	{"ext4 with uninit_bg", "-t ext4 -O ^metadata_csum,uninit_bg"},
	{"ext4 with a seed", "-t ext4 -O metadata_csum_seed"},
	{"ext4 without flex_bg", "-t ext4 -b 1024 -g 1024 -O ^flex_bg,^resize_inode"},
	{"meta_bg", "-t ext4 -b 1024 -g 1024 -O meta_bg,^resize_inode"},
	{"meta_bg without 64bit", "-t ext4 -b 1024 -g 512 -O meta_bg,^resize_inode,^64bit,^metadata_csum"},
	{"inline_data", "-t ext4 -b 4096 -O inline_data"},
	{"inline_data in large inodes", "-t ext4 -I 1024 -O inline_data"},
	{"bigalloc", "-t ext4 -b 4096 -O bigalloc -C 65536"},
	{"bigalloc with blocks of 1 KiB", "-t ext4 -b 1024 -O bigalloc -C 8192"},
	{"large_dir", "-t ext4 -b 1024 -O large_dir"},
	{"without dir_index", "-t ext4 -O ^dir_index"},
	{"without filetype", "-t ext4 -O ^filetype"},
	{"ea_inode", "-t ext4 -b 4096 -O ea_inode"},
	{"ea_inode without checksums", "-t ext4 -O ea_inode,^metadata_csum"},
	{"sparse_super2", "-t ext4 -b 4096 -O sparse_super2"},
	{"no extents", "-t ext4 -b 4096 -O ^extent,^64bit"},
	{"project", "-t ext4 -O project"},
	{"no journal", "-t ext4 -O ^has_journal"},
	{"orphan_file", "-t ext4 -O orphan_file"},
	{"mmp", "-t ext4 -O mmp"},
	{"encrypt and stable_inodes, unused", "-t ext4 -O encrypt,stable_inodes"},
	{"ext3", "-t ext3 -b 4096"},
	{"ext3 with blocks of 1 KiB", "-t ext3 -b 1024"},
	{"ext2", "-t ext2 -b 4096"},
	{"ext2 of revision 0", "-t ext2 -r 0 -b 1024"},
	{"ext2 with a copy of the superblock in each group", "-t ext2 -b 1024 -O ^sparse_super,^resize_inode"},
	{"hash tea", "-t ext4 -b 1024 hash=tea"},
	{"hash legacy", "-t ext4 -b 1024 hash=legacy"},
	{"hash unsigned", "-t ext4 -b 1024 hash=unsigned"},
}

// TestEverythingThatTheKernelWroteReadsAsTheKernelReadsIt makes file systems with
// many options, lets the kernel fill them, and compares all there is to compare.
func TestEverythingThatTheKernelWroteReadsAsTheKernelReadsIt(t *testing.T) {
	t.Parallel()
	for _, c := range kernelOptions {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			options, hash, _ := strings.Cut(c.options, " hash=")
			image := mkfs(t, 96<<20, append(strings.Fields(options), "-L", "a label", "-U", "12345678-9abc-def0-1234-56789abcdef0")...)
			if hash == "unsigned" { // as on machines whose char is: the kernel believes the flag
				treetest.Run(t, "debugfs", "-w", "-R", "set_super_value flags 2", image)
			} else if hash != "" {
				treetest.Run(t, "tune2fs", "-E", "hash_alg="+hash, image)
			}
			dir, unmount := mounted(t, image, "")
			many := 900
			if strings.Contains(options, "large_dir") {
				many = 6000 // its hash tree has inner nodes
			}
			populate(t, dir, many)
			unmount()
			dir, unmount = mounted(t, image, "ro,noload")
			want := theirs(t, dir)
			var st unix.Statfs_t
			if err := unix.Statfs(dir, &st); err != nil {
				t.Fatal(err)
			}
			unmount()
			v := opened(t, image, tree.Options{})
			same(t, ours(t, v), want)
			info := v.Info()
			if free := int64(st.Bfree) * st.Bsize; info.Size-info.Used != free {
				t.Errorf("%d of %d bytes are said to be used, but %d are free", info.Used, info.Size, free)
			}
			kind, _, _ := strings.Cut(strings.TrimPrefix(c.options, "-t "), " ")
			if info.Type != kind || info.Label != "a label" || info.UUID != "12345678-9abc-def0-1234-56789abcdef0" || len(info.Notes) > 0 {
				t.Errorf("info: %+v", info)
			}
			if wantJournal := info.Journal == tree.NoJournal; wantJournal != (v.sb.compat&compatJournal == 0) || info.Journal != tree.NoJournal && info.Journal != tree.Clean {
				t.Errorf("the journal is said to be %s", info.Journal)
			}
		})
	}
}
