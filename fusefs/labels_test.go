package fusefs

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// TestAGuestWithoutLabelsSaysSoOnce has ls ask for no label of each of its files; what is labelled all the same is shown.
func TestAGuestWithoutLabelsSaysSoOnce(t *testing.T) {
	const label = "system_u:object_r:etc_t:s0\x00"
	for _, labelled := range []bool{false, true} {
		set := &treetest.Set{}
		root, srv := guestTrees()
		want := syscall.ENOTSUP
		if labelled {
			root.Nodes[2].Xattrs = map[string][]byte{selinux: []byte(label)}
			want = syscall.ENODATA
		}
		root.File("etc/one", "").Xattrs = map[string][]byte{selinux: []byte(label)}
		root.File("etc/none", "")
		m, _ := mount(t, guestVault(set, root, srv), withGuests(quick(), set))
		for _, in := range []string{"root/etc/", "vda/etc/", "vdb/www/../../vda/etc/"} {
			at := strings.TrimSpace(sh(t, m, "echo $M")) + "/web/latest/files/" + in
			b := make([]byte, 100)
			if n, err := unix.Lgetxattr(at+"one", selinux, b); err != nil || string(b[:n]) != label {
				t.Errorf("%v, %s: %q, %v", labelled, in, b[:max(n, 0)], err)
			}
			if _, err := unix.Lgetxattr(at+"none", selinux, b); !errors.Is(err, want) {
				t.Errorf("%v, %s: %v, want %v", labelled, in, err, want)
			}
			if _, err := unix.Lgetxattr(at+"none", "user.x", b); !errors.Is(err, syscall.ENODATA) {
				t.Errorf("%v, %s: user.x: %v", labelled, in, err)
			}
		}
	}
}
