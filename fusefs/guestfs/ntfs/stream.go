package ntfs

import (
	"fmt"
	"io"
	"io/fs"
	"iter"
	"sort"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// stream is the content of one attribute. It does not change, and may be read
// from several goroutines.
type stream struct {
	v        *volume
	n        *inode
	what     string
	at       int64 // of the record with its first part
	head     attribute
	parts    []listed // where its runs are, by cluster; nothing when it is resident
	size     int64
	valid    int64 // what is after it was never written and reads as zeros
	unit     int64 // bytes of a compression unit, 0 when it is not compressed
	resident []byte
}

// runsKey names one attribute of one record.
type runsKey struct {
	record uint64
	first  int64
	id     uint16
}

var _ tree.File = (*stream)(nil)

// maxUnit bounds a compression unit: 16 clusters of at most 4 KiB in practice.
const maxUnit = 1 << 20

// stream opens the content of an attribute: fs.ErrNotExist when there is none.
func (v *volume) stream(n *inode, k kind, name string) (*stream, error) {
	s := &stream{v: v, n: n, parts: n.parts(k, name), what: fmt.Sprintf("%s: %s", n, k.label(name))}
	if len(s.parts) == 0 {
		return nil, fmt.Errorf("%s: %w", s.what, fs.ErrNotExist)
	}
	var err error
	if s.head, s.at, err = v.attribute(n, s.parts[0]); err != nil {
		return nil, fmt.Errorf("%s: %w", s.what, err)
	}
	if s.head.resident {
		s.resident, s.size, s.parts = s.head.value, int64(len(s.head.value)), nil
		s.valid = s.size
		return s, nil
	}
	s.size, s.valid = s.head.size, min(s.head.valid, s.head.size)
	if s.head.first != 0 {
		return nil, s.corrupt("it begins at cluster %d", s.head.first)
	}
	return s, s.checkMethod()
}

// checkMethod refuses what cannot be read, and sets the compression unit.
func (s *stream) checkMethod() error {
	switch method := s.head.flags & flagMethod; {
	case s.head.flags&flagEncrypted != 0:
		return &tree.UnsupportedError{What: s.what, Why: "it is encrypted (EFS): only the guest has the key"}
	case method > flagCompressed:
		return &tree.UnsupportedError{What: s.what, Why: fmt.Sprintf("it is compressed by an unknown method (%d)", method)}
	case method == 0 || s.head.unit == 0:
		return nil
	case s.head.unit > 16 || s.v.cluster<<s.head.unit > maxUnit:
		return s.corrupt("a compression unit has 2^%d clusters of %d bytes", s.head.unit, s.v.cluster)
	}
	s.unit = s.v.cluster << s.head.unit
	return nil
}

func (k kind) label(name string) string {
	known := map[kind]string{kindStandard: "$STANDARD_INFORMATION", kindFileName: "$FILE_NAME", kindData: "data",
		kindIndexRoot: "index root", kindIndex: "index", kindBitmap: "bitmap", kindReparse: "reparse point",
		kindEA: "$EA", kindVolumeName: "$VOLUME_NAME", kindVolumeInfo: "$VOLUME_INFORMATION"}
	what, ok := known[k]
	if !ok {
		what = fmt.Sprintf("attribute %#x", uint32(k))
	}
	if name != "" {
		what += " " + name
	}
	return what
}

func (s *stream) corrupt(why string, args ...any) error {
	return &tree.CorruptError{What: s.what, Why: fmt.Sprintf(why, args...), At: s.at}
}

// part returns the runs of the i-th part, checked: decoded and where the part before ends.
func (s *stream) part(i int) ([]run, error) {
	e := s.parts[i]
	key := runsKey{e.ref & numberMask, e.first, e.id}
	if runs, ok := s.v.runs.Get(key); ok {
		return runs, nil
	}
	a, at := s.head, s.at
	if i > 0 {
		var err error
		if a, at, err = s.v.attribute(s.n, e); err != nil {
			return nil, fmt.Errorf("%s: %w", s.what, err)
		}
	}
	runs, err := decodeRuns(a.pairs, a.first, a.last, s.v.clusters)
	if err == nil && i+1 < len(s.parts) && s.parts[i+1].first != a.last+1 {
		err = fmt.Errorf("a part of it ends at cluster %d, the next begins at %d", a.last, s.parts[i+1].first)
	}
	if err == nil && a.resident {
		err = fmt.Errorf("a part of it is resident")
	}
	if err != nil {
		return nil, &tree.CorruptError{What: s.what, Why: err.Error(), At: at}
	}
	s.v.runs.Put(key, runs, runCost*int64(len(runs)))
	return runs, nil
}

// extent returns where the byte at off lies (hole: nowhere) and how many follow it there.
func (s *stream) extent(off int64) (at, n int64, err error) {
	vcn := off / s.v.cluster
	i := sort.Search(len(s.parts), func(i int) bool { return s.parts[i].first > vcn }) - 1
	runs, err := s.part(i)
	if err != nil {
		return 0, 0, err
	}
	j := sort.Search(len(runs), func(j int) bool { return runs[j].vcn+runs[j].count > vcn })
	if j == len(runs) {
		return 0, 0, s.corrupt("its runs end before byte %d of %d", off, s.size)
	}
	in := off - runs[j].vcn*s.v.cluster
	n = runs[j].count*s.v.cluster - in
	if runs[j].lcn == hole {
		return hole, n, nil
	}
	return runs[j].lcn*s.v.cluster + in, n, nil
}

// ReadAt reads straight into p, with one read of the volume for each run.
func (s *stream) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("%s: read at %d", s.what, off)
	}
	if off >= s.size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > s.size-off {
		p, end = p[:s.size-off], io.EOF
	}
	if s.resident != nil {
		return copy(p, s.resident[off:]), end
	}
	written := p[:min(int64(len(p)), max(s.valid-off, 0))]
	clear(p[len(written):])
	read := s.readRuns
	if s.unit != 0 {
		read = s.readUnits
	}
	if n, err := read(written, off); err != nil {
		return n, err
	}
	return len(p), end
}

// readRuns fills p with what lies at off of the runs.
func (s *stream) readRuns(p []byte, off int64) (done int, err error) {
	for done < len(p) {
		at, n, err := s.extent(off + int64(done))
		if err != nil {
			return done, err
		}
		part := p[done:]
		part = part[:min(n, int64(len(part)))]
		if at == hole {
			clear(part)
		} else if err := tree.ReadFull(s.v.r, part, at); err != nil {
			return done, fmt.Errorf("%s at %d of the volume: %w", s.what, at, err)
		}
		done += len(part)
	}
	return done, nil
}

// Extents yields the runs that are not holes, as far as anything was written.
// Of a compressed content that are whole compression units.
func (s *stream) Extents() iter.Seq2[tree.Extent, error] {
	return func(yield func(tree.Extent, error) bool) {
		var held tree.Extent // grows until a hole follows
		for off := int64(0); off < s.valid; {
			at, n, err := int64(0), s.valid, error(nil)
			if s.resident == nil {
				at, n, err = s.extent(off)
			}
			if err != nil {
				yield(tree.Extent{}, err)
				return
			}
			begin, end := off, off+min(n, s.valid-off)
			off = end
			if at == hole {
				continue
			}
			if s.unit != 0 {
				begin, end = begin/s.unit*s.unit, min((end+s.unit-1)/s.unit*s.unit, s.size)
			}
			if begin <= held.Off+held.Len && held.Len > 0 {
				held.Len = max(held.Len, end-held.Off)
				continue
			}
			if held.Len > 0 && !yield(held, nil) {
				return
			}
			held = tree.Extent{Off: begin, Len: end - begin}
		}
		if held.Len > 0 {
			yield(held, nil)
		}
	}
}

// value returns the whole of a small attribute, of at most limit bytes.
func (v *volume) value(n *inode, k kind, name string, limit int64) ([]byte, error) {
	s, err := v.stream(n, k, name)
	if err != nil {
		return nil, err
	}
	if s.size > limit {
		return nil, s.corrupt("it has %d bytes, more than %d", s.size, limit)
	}
	if s.resident != nil {
		return s.resident, nil
	}
	b := make([]byte, s.size)
	if _, err := s.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, err
	}
	return b, nil
}
