package xfs

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Flags of an attribute.
const (
	attrLocal      = 0x01 // its value lies beside its name
	attrRoot       = 0x02
	attrSecure     = 0x04
	attrParent     = 0x08 // where a name of the inode lies: the file system's own
	attrIncomplete = 0x80 // was being written
	attrSpace      = attrRoot | attrSecure | attrParent

	maxValue = 64 << 10
	maxNames = 1 << 20 // bytes of all names of an inode
)

// prefixes are how Linux calls the name spaces of attributes.
var prefixes = map[byte]string{0: "user.", attrRoot: "trusted.", attrSecure: "security."}

// attribute is one extended attribute.
type attribute struct {
	flags byte
	name  string
	value []byte // of a local one
	block uint32 // of another the place of its value in the fork
	size  int
}

// linuxName is the name by which Linux shows an attribute, "" if it does not.
func (a attribute) linuxName() string {
	if a.flags&attrIncomplete != 0 {
		return ""
	}
	space := a.flags & attrSpace
	if acl := aclNames[a.name]; acl != "" && space == attrRoot {
		return acl
	}
	if prefixes[space] == "" {
		return ""
	}
	return prefixes[space] + a.name
}

// stored is the opposite: the name space and name under which an attribute lies.
func stored(name string) (space byte, bare string, ok bool) {
	for bare, acl := range aclNames {
		switch name {
		case acl:
			return attrRoot, bare, true
		case prefixes[attrRoot] + bare: // shown as the ACL that it is
			return 0, "", false
		}
	}
	for space, prefix := range prefixes {
		if bare, ok := strings.CutPrefix(name, prefix); ok && bare != "" {
			return space, bare, true
		}
	}
	return 0, "", false
}

// Xattrs implements tree.FileSystem.
func (v *volume) Xattrs(ino uint64) ([]string, error) {
	f, err := v.attributeFork(ino)
	if f == nil || err != nil {
		return nil, err
	}
	var names []string
	bytes := 0
	take := func(a attribute) bool {
		if name := a.linuxName(); name != "" {
			names = append(names, name)
			bytes += len(name) + 16
		}
		return bytes < maxNames
	}
	if err := f.eachAttribute(take); err != nil {
		return nil, err
	}
	if bytes >= maxNames {
		return nil, &tree.UnsupportedError{What: f.what, Why: fmt.Sprintf("their names have more than %d bytes", maxNames)}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Xattr implements tree.FileSystem.
func (v *volume) Xattr(ino uint64, name string) ([]byte, error) {
	absent := fmt.Errorf("no attribute %q of inode %d: %w", name, ino, fs.ErrNotExist)
	f, err := v.attributeFork(ino)
	if err != nil {
		return nil, err
	}
	space, bare, ok := stored(name)
	if !ok || f == nil {
		return nil, absent
	}
	a, ok, err := f.attribute(space, bare)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, absent
	}
	if a.flags&attrLocal == 0 {
		if a.value, err = f.farValue(a); err != nil {
			return nil, err
		}
	}
	if aclNames[bare] != "" && space == attrRoot {
		return f.acl(a.value)
	}
	return slices.Clone(a.value), nil
}

func (v *volume) attributeFork(ino uint64) (*fork, error) {
	i, err := v.inode(ino)
	if err != nil {
		return nil, err
	}
	return v.attributes(i)
}

// eachAttribute gives every attribute of a fork until take wants no more.
func (f *fork) eachAttribute(take func(attribute) bool) error {
	if f.local != nil {
		return f.shortAttributes(take)
	}
	b, ok, err := f.hashLeaf(0, f.v.block, 0)
	for hops := 0; err == nil && ok; {
		more, err := f.leafAttributes(b, 0, ^uint32(0), take)
		if err != nil || !more || b.next == 0 {
			return err
		}
		_, last := f.leafHashes(b)
		if b, err = f.nextLeaf(b, f.v.block, &hops); err != nil {
			return err
		}
		if first, _ := f.leafHashes(b); b.count > 0 && first < last {
			return corrupt(f.what, b.at, "the hashes of its leaves do not ascend")
		}
	}
	return err
}

// attribute finds one by its hash.
func (f *fork) attribute(space byte, name string) (a attribute, found bool, err error) {
	take := func(one attribute) bool {
		if one.name == name && one.flags&attrSpace == space && one.flags&attrIncomplete == 0 {
			a, found = one, true
		}
		return !found
	}
	if f.local != nil {
		err = f.shortAttributes(take)
		return a, found, err
	}
	hash := hashName(name)
	b, ok, err := f.hashLeaf(0, f.v.block, hash)
	for hops := 0; err == nil && ok; {
		more, err := f.leafAttributes(b, hash, hash, take)
		if err != nil || found || !more || b.next == 0 {
			return a, found, err
		}
		if b, err = f.nextLeaf(b, f.v.block, &hops); err != nil {
			return a, false, err
		}
	}
	return a, found, err
}

// shortAttributes gives those that are kept in the inode (xfs_attr_sf_hdr): bytes
// in all, count, a byte of nothing, then of each the lengths of name and value,
// flags, name, value.
func (f *fork) shortAttributes(take func(attribute) bool) error {
	bad := corrupt(f.what, f.at, "they do not fit into the inode")
	b := f.local
	if len(b) < 4 {
		return bad
	}
	n := int(b[2])
	for b = b[4:]; n > 0; n-- {
		if len(b) < 3 || len(b) < 3+int(b[0])+int(b[1]) {
			return bad
		}
		value := 3 + int(b[0])
		end := value + int(b[1])
		if !take(attribute{flags: b[2] | attrLocal, name: string(b[3:value]), value: b[value:end]}) {
			return nil
		}
		b = b[end:]
	}
	return nil
}
