package extract

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// aclKeys are the records in which tar programs look for ACLs (pax records of star, which GNU
// tar and libarchive took over); among the other attributes they pass them by.
var aclKeys = map[string]string{
	"system.posix_acl_access":  "SCHILY.acl.access",
	"system.posix_acl_default": "SCHILY.acl.default",
}

// aclTags are whom an entry is for (linux/posix_acl_xattr.h).
var aclTags = map[uint16]string{1: "user", 2: "user", 4: "group", 8: "group", 16: "mask", 32: "other"}

// aclText writes an ACL as acl_to_text(3) does, with numbers for names; false where it is none.
func aclText(v []byte) (string, bool) {
	le := binary.LittleEndian
	if len(v) < 4 || len(v)%8 != 4 || le.Uint32(v) != 2 {
		return "", false
	}
	var entries []string
	for v = v[4:]; len(v) > 0; v = v[8:] {
		tag, perm, who := le.Uint16(v), le.Uint16(v[2:]), ""
		if aclTags[tag] == "" || perm > 7 {
			return "", false
		}
		if tag == 2 || tag == 8 {
			who = fmt.Sprint(le.Uint32(v[4:]))
		}
		entries = append(entries, aclTags[tag]+":"+who+":"+permText(perm))
	}
	return strings.Join(entries, ","), true
}

func permText(perm uint16) string {
	b := []byte("rwx")
	for i := range b {
		if perm&(4>>i) == 0 {
			b[i] = '-'
		}
	}
	return string(b)
}
