package ntfs

import (
	"fmt"
	"io/fs"
	"sort"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// table is where the file table ($MFT) lies.
type table struct {
	runs  []run
	count uint64 // records
}

const (
	pieceSize   = 64 << 10 // what is read of the table at a time
	runCost     = 24
	mirrorCount = 4 // records that the mirror has at least
)

// openTable reads record 0, which says where the table lies, or its copy in the
// mirror. When its runs go on in other records, each of these must lie in what
// the runs before it map; so every record is found without going in circles.
func (v *volume) openTable(memory int64) error {
	v.table = &table{runs: []run{{0, v.mft, (v.record + v.cluster - 1) / v.cluster}}, count: 1}
	r, err := v.readRecord(mftRecord)
	if err != nil {
		return fmt.Errorf("the file table: %w", err)
	}
	var data *attribute
	for i, a := range r.attrs {
		if a.kind == kindData && a.name == "" && !a.resident && a.first == 0 {
			data = &r.attrs[i]
		}
	}
	if data == nil {
		return &tree.CorruptError{What: "the file table", Why: "its record does not say where it lies", At: r.at}
	}
	count := uint64(min(data.size, data.valid) / v.record)
	if count > mftLimit {
		return &tree.CorruptError{What: "the file table", Why: fmt.Sprintf("it has %d records", count), At: r.at}
	}
	v.table = &table{count: count}
	if err := v.growTable(*data, r.at); err != nil {
		return err
	}
	list, err := v.attributeList(r)
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.kind != kindData || e.name != "" || e.first == 0 {
			continue
		}
		a, at, err := v.continuation(mftRecord, e, v.readRecord)
		if err == nil {
			err = v.growTable(a, at)
		}
		if err != nil {
			return fmt.Errorf("the file table: %w", err)
		}
		if int64(len(v.table.runs))*runCost > memory {
			return &tree.UnsupportedError{What: "the volume",
				Why: fmt.Sprintf("its file table is in more than %d pieces, which the memory allowed does not hold", len(v.table.runs))}
		}
	}
	return nil
}

func (v *volume) growTable(a attribute, at int64) error {
	have := int64(0)
	if n := len(v.table.runs); n > 0 {
		have = v.table.runs[n-1].vcn + v.table.runs[n-1].count
	}
	runs, err := decodeRuns(a.pairs, a.first, a.last, v.clusters)
	if err == nil && a.first != have {
		err = fmt.Errorf("a part of it begins at cluster %d, the part before ended at %d", a.first, have)
	}
	if err != nil {
		return &tree.CorruptError{What: "the file table", Why: err.Error(), At: at}
	}
	v.table.runs = append(v.table.runs, runs...)
	return nil
}

// place returns where a byte of the table lies and how many follow it there.
func (v *volume) place(off int64) (at, n int64, err error) {
	vcn := off / v.cluster
	runs := v.table.runs
	i := sort.Search(len(runs), func(i int) bool { return runs[i].vcn+runs[i].count > vcn })
	if i == len(runs) || runs[i].lcn == hole {
		return 0, 0, &tree.CorruptError{What: "the file table", Why: fmt.Sprintf("it has no cluster %d", vcn), At: -1}
	}
	in := off - runs[i].vcn*v.cluster
	return runs[i].lcn*v.cluster + in, runs[i].count*v.cluster - in, nil
}

// readTable reads a part of the table.
func (v *volume) readTable(p []byte, off int64) error {
	for len(p) > 0 {
		at, n, err := v.place(off)
		if err != nil {
			return err
		}
		n = min(n, int64(len(p)))
		if err := tree.ReadFull(v.r, p[:n], at); err != nil {
			return fmt.Errorf("the file table at %d of the volume: %w", at, err)
		}
		p, off = p[n:], off+n
	}
	return nil
}

// recordOf returns one record from a piece of the table that was read lately.
func (v *volume) recordOf(number uint64) (*record, error) {
	if number >= v.table.count {
		return nil, fmt.Errorf("record %d: the file table has %d: %w", number, v.table.count, fs.ErrNotExist)
	}
	size := max(pieceSize, v.record)
	off := int64(number) * v.record
	index := off / size
	piece, ok := v.records.Get(index)
	if !ok {
		piece = make([]byte, min(size, int64(v.table.count)*v.record-index*size))
		if v.readTable(piece, index*size) != nil {
			return v.readRecord(number) // another record of the piece may be what cannot be read
		}
		v.records.Put(index, piece, int64(len(piece)))
	}
	at, _, err := v.place(off)
	if err != nil {
		return nil, err
	}
	b := append([]byte(nil), piece[off%size:off%size+v.record]...)
	r, err := parseRecord(b, number, at)
	if err != nil {
		return v.mirrored(number, err)
	}
	return r, nil
}

// readRecord reads one record from the volume.
func (v *volume) readRecord(number uint64) (*record, error) {
	if number >= v.table.count {
		return nil, fmt.Errorf("record %d: the file table has %d: %w", number, v.table.count, fs.ErrNotExist)
	}
	b, off := make([]byte, v.record), int64(number)*v.record
	at, _, err := v.place(off)
	if err == nil {
		err = v.readTable(b, off)
	}
	if err != nil {
		return v.mirrored(number, err)
	}
	r, err := parseRecord(b, number, at)
	if err != nil {
		return v.mirrored(number, err)
	}
	return r, nil
}

// mirrored returns one of the first records, which could not be read because of
// err, from the mirror.
func (v *volume) mirrored(number uint64, err error) (*record, error) {
	if number >= max(mirrorCount, uint64(v.cluster/v.record)) || v.mirror == 0 {
		return nil, err
	}
	b, at := make([]byte, v.record), v.mirror*v.cluster+int64(number)*v.record
	if tree.ReadFull(v.r, b, at) != nil {
		return nil, err
	}
	r, mirrorErr := parseRecord(b, number, at)
	if mirrorErr != nil || r.flags&recordInUse == 0 {
		return nil, err
	}
	return r, nil
}
