package ntfs

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/wtf8"
)

const (
	maxList       = 1 << 20 // bytes of an attribute list; Windows stops at 256 KiB
	listEntrySize = 26
)

// listed is an entry of an attribute list: an attribute, or a part of one, and
// the record that has it.
type listed struct {
	kind  kind
	name  string
	first int64  // cluster of the attribute's content
	ref   uint64 // of the record
	id    uint16
}

// attributeList returns the attribute list of a record, sorted by what it is of
// and by cluster; nil when the record has none.
func (v *volume) attributeList(r *record) ([]listed, error) {
	for _, a := range r.attrs {
		if a.kind != kindList {
			continue
		}
		b, err := v.listBytes(a, r.at)
		if err != nil {
			return nil, fmt.Errorf("attribute list of record %d: %w", r.number, err)
		}
		all, err := parseList(b)
		if err != nil {
			return nil, &tree.CorruptError{What: fmt.Sprintf("attribute list of record %d", r.number), Why: err.Error(), At: r.at}
		}
		slices.SortStableFunc(all, func(x, y listed) int {
			return cmp.Or(cmp.Compare(x.kind, y.kind), cmp.Compare(x.name, y.name), cmp.Compare(x.first, y.first))
		})
		return all, nil
	}
	return nil, nil
}

// listBytes returns the content of an attribute list, whose runs are always in
// the record itself.
func (v *volume) listBytes(a attribute, at int64) ([]byte, error) {
	if a.resident {
		return a.value, nil
	}
	if a.first != 0 || a.size > maxList || a.size > a.alloc || a.flags != 0 {
		return nil, &tree.CorruptError{What: "its header", Why: fmt.Sprintf("%d bytes in %d, flags %#x", a.size, a.alloc, a.flags), At: at}
	}
	runs, err := decodeRuns(a.pairs, a.first, a.last, v.clusters)
	if err != nil {
		return nil, &tree.CorruptError{What: "its place", Why: err.Error(), At: at}
	}
	b := make([]byte, 0, a.size)
	for _, r := range runs {
		n := min(r.count*v.cluster, a.size-int64(len(b)))
		if r.lcn == hole {
			return nil, &tree.CorruptError{What: "its place", Why: "it has a hole", At: at}
		}
		part := b[len(b) : int64(len(b))+n]
		if err := tree.ReadFull(v.r, part, r.lcn*v.cluster); err != nil {
			return nil, err
		}
		b = b[:int64(len(b))+n]
	}
	if int64(len(b)) < a.size {
		return nil, &tree.CorruptError{What: "its place", Why: fmt.Sprintf("its runs hold %d of %d bytes", len(b), a.size), At: at}
	}
	return b, nil
}

func parseList(b []byte) ([]listed, error) {
	all := make([]listed, 0, len(b)/32)
	for at := 0; at+listEntrySize <= len(b); {
		e := b[at:]
		n, nameLen, nameAt := int(le.Uint16(e[4:])), 2*int(e[6]), int(e[7])
		if n < listEntrySize || n%8 != 0 || n > len(e) || nameLen > 0 && nameAt+nameLen > n {
			return nil, fmt.Errorf("the entry at %d of it has %d bytes, a name at %d to %d", at, n, nameAt, nameAt+nameLen)
		}
		l := listed{kind: kind(le.Uint32(e)), first: int64(le.Uint64(e[8:])), ref: le.Uint64(e[16:]), id: le.Uint16(e[24:])}
		if l.first < 0 || l.first > maxVCN {
			return nil, fmt.Errorf("the entry at %d of it is for cluster %d", at, l.first)
		}
		if nameLen > 0 {
			l.name = wtf8.Decode(e[nameAt : nameAt+nameLen])
		}
		all = append(all, l)
		at += n
	}
	return all, nil
}

// continuation returns the attribute that a list entry of the record base names,
// and where the record lies that has it, which read reads.
func (v *volume) continuation(base uint64, e listed, read func(uint64) (*record, error)) (attribute, int64, error) {
	number, sequence := e.ref&numberMask, uint16(e.ref>>48)
	r, err := read(number)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = &tree.CorruptError{What: fmt.Sprintf("attribute list of record %d", base), Why: err.Error(), At: -1}
		}
		return attribute{}, 0, err
	}
	bad := func(why string) (attribute, int64, error) {
		return attribute{}, r.at, &tree.CorruptError{What: fmt.Sprintf("record %d", number), Why: why, At: r.at}
	}
	if r.flags&recordInUse == 0 || sequence != 0 && r.sequence != sequence {
		return bad(fmt.Sprintf("it is not what record %d goes on in", base))
	}
	if number != base && r.base&numberMask != base {
		return bad(fmt.Sprintf("it belongs to record %d and not to %d", r.base&numberMask, base))
	}
	for _, a := range r.attrs {
		if a.kind == e.kind && a.id == e.id && a.first == e.first && a.name == e.name {
			return a, r.at, nil
		}
	}
	return bad(fmt.Sprintf("it does not hold the part of type %#x from cluster %d on", e.kind, e.first))
}
