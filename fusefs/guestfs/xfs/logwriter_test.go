package xfs

import (
	"os"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// logWriter appends records to the log of an image, as a guest's kernel would.
type logWriter struct {
	t    testing.TB
	f    *os.File
	v    *volume
	j    *journal
	next int64 // sector
	last record
	tail uint64 // 0: each record is its own tail
}

// writeLog finds the end of an image's log.
func writeLog(t testing.TB, path string) *logWriter {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	s, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	opened, err := Format.Open(f, s.Size(), tree.Options{})
	if err != nil {
		t.Fatal(err)
	}
	v := opened.(*volume)
	at, _ := v.address(v.logStart, v.logBlocks)
	w := &logWriter{t: t, f: f, v: v, j: &journal{v: v, r: f, at: at, sectors: int64(v.logBlocks) * int64(v.block) / sectorSize}}
	span, err := w.j.find()
	if err != nil {
		t.Fatal(err)
	}
	w.last, w.next = span.head, (span.head.sector+span.head.end())%w.j.sectors
	return w
}

// op is one operation of a record.
func op(id uint32, flags byte, body []byte) []byte {
	b := be.AppendUint32(be.AppendUint32(nil, id), uint32(len(body)))
	return append(append(b, 0x69, flags, 0, 0), body...)
}

// transactionOps are the operations of a transaction of items, each a list of
// regions.
func transactionOps(id uint32, items ...[][]byte) [][]byte {
	header := le.AppendUint32(nil, 0x5452414e)
	header = le.AppendUint32(header, 40)
	header = le.AppendUint32(header, id)
	header = le.AppendUint32(header, uint32(len(items)))
	ops := [][]byte{op(id, opStart, nil), op(id, 0, header)}
	for _, item := range items {
		for _, region := range item {
			ops = append(ops, op(id, 0, region))
		}
	}
	return append(ops, op(id, opCommit, nil))
}

// write appends one record of operations.
func (w *logWriter) write(ops ...[]byte) record {
	var data []byte
	for _, o := range ops {
		data = append(data, o...)
	}
	cycle := w.last.cycle
	if w.next < w.last.sector {
		cycle++
	}
	r := record{sector: w.next, header: 1, length: len(data), ops: len(ops), cycle: cycle, lsn: uint64(cycle)<<32 | uint64(w.next), size: 32 << 10}
	if r.tail = w.tail; r.tail == 0 {
		r.tail = r.lsn
	}
	w.put(r, data)
	w.last, w.next = r, (w.next+r.end())%w.j.sectors
	return r
}

// put lays down a record: header, stamps and checksum.
func (w *logWriter) put(r record, data []byte) {
	b := make([]byte, r.end()*sectorSize)
	be.PutUint32(b, magicRecord)
	be.PutUint32(b[4:], r.cycle)
	be.PutUint32(b[8:], 2)
	be.PutUint32(b[12:], uint32(r.length))
	be.PutUint64(b[16:], r.lsn)
	be.PutUint64(b[24:], r.tail)
	be.PutUint32(b[36:], uint32(w.last.sector))
	be.PutUint32(b[40:], uint32(r.ops))
	be.PutUint32(b[300:], linuxLittle)
	copy(b[304:], w.v.uuid[:])
	be.PutUint32(b[320:], uint32(r.size))
	body := b[sectorSize:]
	copy(body, data)
	for i := 0; i*sectorSize < r.length; i++ {
		copy(b[stampsAt+i*stampWidth:], body[i*sectorSize:][:stampWidth])
		stamp := r.cycle
		if r.sector+1+int64(i) >= w.j.sectors {
			stamp++
		}
		be.PutUint32(body[i*sectorSize:], stamp)
	}
	le.PutUint32(b[32:], r.sum(b, recordHeader))
	for i := int64(0); i < r.end(); i++ {
		if _, err := w.f.WriteAt(b[i*sectorSize:][:sectorSize], w.j.at+(r.sector+i)%w.j.sectors*sectorSize); err != nil {
			w.t.Fatal(err)
		}
	}
}

// mapPromise is an item that promises to change a file's map.
func mapPromise(id, ino uint64, e extent, flags uint32) [][]byte {
	b := le.AppendUint16(le.AppendUint16(nil, itemMap), 1)
	b = le.AppendUint64(le.AppendUint32(b, 1), id)
	b = le.AppendUint64(le.AppendUint64(le.AppendUint64(b, ino), e.start), e.off)
	return [][]byte{le.AppendUint32(le.AppendUint32(b, uint32(e.n)), flags)}
}

// swapPromise is an item that promises to exchange parts of two files.
func swapPromise(id, one, two uint64, gen1, gen2 uint32, first, second, n, flags, size1, size2 uint64) [][]byte {
	b := le.AppendUint16(le.AppendUint16(nil, itemSwap), 1)
	b = le.AppendUint64(le.AppendUint32(b, 0), id)
	b = le.AppendUint64(le.AppendUint64(b, one), two)
	b = le.AppendUint32(le.AppendUint32(b, gen1), gen2)
	for _, x := range []uint64{first, second, n, flags, size1, size2} {
		b = le.AppendUint64(b, x)
	}
	return [][]byte{b}
}
