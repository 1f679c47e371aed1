package xfs

import "fmt"

// aclNames are the attributes of the root name space that hold ACLs, and how
// Linux shows them.
var aclNames = map[string]string{
	"SGI_ACL_FILE":    "system.posix_acl_access",
	"SGI_ACL_DEFAULT": "system.posix_acl_default",
}

const (
	aclEntry    = 12 // tag, id, permissions, padding; before all of them a count
	aclVersion  = 2  // of the form that Linux gives
	aclNoID     = ^uint32(0)
	aclUser     = 0x02 // tags of entries for one user or group, which have an id
	aclGroup    = 0x08
	aclAllTags  = 0x3f
	aclAllPerms = 0x7
)

// acl turns an ACL as it is stored (xfs_acl, big endian) into the value of Linux's
// system.posix_acl_* attributes (posix_acl_xattr, little endian).
func (f *fork) acl(b []byte) ([]byte, error) {
	if len(b) < 4 || int64(be.Uint32(b))*aclEntry > int64(len(b)-4) {
		return nil, corrupt(f.what, f.at, "an ACL of them has fewer entries than it says")
	}
	n := int(be.Uint32(b))
	out := le.AppendUint32(make([]byte, 0, 4+n*8), aclVersion)
	for b = b[4:]; n > 0; n, b = n-1, b[aclEntry:] {
		tag, id, permissions := be.Uint32(b), be.Uint32(b[4:]), be.Uint16(b[8:])
		if tag == 0 || tag&^aclAllTags != 0 || tag&(tag-1) != 0 || permissions&^aclAllPerms != 0 {
			return nil, corrupt(f.what, f.at, fmt.Sprintf("an ACL of them has an entry of kind %#x with permissions %#x", tag, permissions))
		}
		if tag != aclUser && tag != aclGroup {
			id = aclNoID
		}
		out = le.AppendUint16(out, uint16(tag))
		out = le.AppendUint16(out, permissions)
		out = le.AppendUint32(out, id)
	}
	return out, nil
}
