package ntfs

import (
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// What an inode takes in memory beside its record: for itself and each
// attribute, and for each entry of its list.
const (
	inodeCost  = 200
	listedCost = 64
)

// inode is a file or folder: its base record, and where its other attributes are.
type inode struct {
	*record
	dir bool
	all []listed // every attribute, sorted by kind, name and cluster; in base records of one record in their order
}

func (n *inode) reference() uint64 { return n.number | uint64(n.sequence)<<48 }

func (n *inode) String() string {
	if n.dir {
		return fmt.Sprintf("folder %d", n.number)
	}
	return fmt.Sprintf("file %d", n.number)
}

// resolve returns the inode that a reference means.
func (v *volume) resolve(ref uint64) (*inode, error) {
	n, err := v.inode(ref & numberMask)
	if err != nil {
		return nil, err
	}
	if sequence := uint16(ref >> 48); sequence != 0 && sequence != n.sequence {
		return nil, &tree.CorruptError{What: fmt.Sprintf("the reference to record %d", n.number), At: n.at,
			Why: fmt.Sprintf("it is for the use %d of that record, which is in its use %d", sequence, n.sequence)}
	}
	return n, nil
}

func (v *volume) inode(number uint64) (*inode, error) {
	if n, ok := v.inodes.Get(number); ok {
		return n, nil
	}
	r, err := v.recordOf(number)
	if err != nil {
		return nil, err
	}
	if r.flags&recordInUse == 0 || r.base&numberMask != 0 {
		return nil, fmt.Errorf("record %d is not a file: %w", number, fs.ErrNotExist)
	}
	n := &inode{record: r, dir: r.flags&recordFolder != 0}
	if n.all, err = v.attributeList(r); err != nil {
		return nil, err
	}
	if n.all == nil {
		for _, a := range r.attrs {
			n.all = append(n.all, listed{a.kind, a.name, a.first, n.number, a.id})
		}
	}
	v.inodes.Put(number, n, v.boot.record+inodeCost*int64(1+len(r.attrs))+listedCost*int64(len(n.all)))
	return n, nil
}

// parts returns the entries of one attribute, sorted by cluster.
func (n *inode) parts(k kind, name string) []listed {
	i := slices.IndexFunc(n.all, func(e listed) bool { return e.kind == k && e.name == name })
	if i < 0 {
		return nil
	}
	end := i + 1
	for end < len(n.all) && n.all[end].kind == k && n.all[end].name == name {
		end++
	}
	return n.all[i:end]
}

// attribute returns what an entry of n.all names.
func (v *volume) attribute(n *inode, e listed) (attribute, int64, error) {
	if e.ref&numberMask == n.number {
		return v.continuation(n.number, e, func(uint64) (*record, error) { return n.record, nil })
	}
	return v.continuation(n.number, e, v.extension)
}

// extension returns a record that another one goes on in. These are kept, since
// one holds many parts.
func (v *volume) extension(number uint64) (*record, error) {
	if r, ok := v.extensions.Get(number); ok {
		return r, nil
	}
	r, err := v.recordOf(number)
	if err == nil {
		v.extensions.Put(number, r, v.boot.record+inodeCost*int64(1+len(r.attrs)))
	}
	return r, err
}

// standard is $STANDARD_INFORMATION.
type standard struct {
	created, modified, changed, accessed time.Time
	attributes                           uint32
}

const standardSize = 36

// standard returns the times and DOS attributes of an inode.
func (v *volume) standard(n *inode) (standard, error) {
	b, err := v.value(n, kindStandard, "", 1<<10)
	if err == nil && len(b) < standardSize {
		err = &tree.CorruptError{What: n.String(), Why: fmt.Sprintf("its times have %d bytes", len(b)), At: n.at}
	}
	if err != nil {
		return standard{}, err
	}
	return standard{filetime(b), filetime(b[8:]), filetime(b[16:]), filetime(b[24:]), le.Uint32(b[32:])}, nil
}

// filetime is a count of 100 ns since 1601; 0 is no time.
func filetime(b []byte) time.Time {
	const second, from1601 = 1e7, 11644473600
	v := le.Uint64(b)
	if v == 0 {
		return time.Time{}
	}
	return time.Unix(int64(v/second)-from1601, int64(v%second)*100).UTC()
}
