package part

import (
	"errors"
	"fmt"
	"io"
)

// Scheme is the kind of a partition table.
type Scheme string

// The schemes.
const (
	None Scheme = ""    // the disk has no table: it is one volume, or empty
	GPT  Scheme = "gpt" // GUID partition table
	MBR  Scheme = "mbr" // also called msdos
)

// ErrDamaged says that a disk has a partition table of which no copy is whole.
var ErrDamaged = errors.New("the partition table is damaged")

// Table is what a disk says of its partitions.
type Table struct {
	Scheme     Scheme
	ID         string // of the disk: a UUID (GPT), eight hexadecimal digits (MBR)
	Sector     int    // bytes that the table counts in
	Partitions []Partition

	// Notes say what a person should know: that the backup copy was read, that a
	// partition was left out.
	Notes []string
}

// Partition is one entry of a table. It lies within the disk.
type Partition struct {
	Number   int    // as Linux counts: vda1 is 1, logical ones begin with 5
	Off, Len int64  // bytes
	Type     string // GPT: a UUID in lower case; MBR: two hexadecimal digits
	UUID     string // as blkid(8) prints PARTUUID
	Label    string // PARTLABEL, of GPT only
}

// maxNotes bounds what a hostile table can have us say.
const maxNotes = 32

func (t *Table) note(format string, args ...any) {
	if len(t.Notes) < maxNotes {
		t.Notes = append(t.Notes, fmt.Sprintf(format, args...))
	}
}

// add adds p cut to the disk's size, or notes why not. One that begins with the table
// itself is how images for discs and sticks (isohybrid, UDF) have the whole disk, in MBRs.
func (t *Table) add(p Partition, disk int64) {
	switch {
	case p.Off < 0 || p.Off == 0 && t.Scheme != MBR || p.Len <= 0 || p.Off >= disk:
		t.note("partition %d is left out: it begins beyond the end of the disk", p.Number)
		return
	case p.Len > disk-p.Off:
		t.note("partition %d is cut: the disk ends before it", p.Number)
		p.Len = disk - p.Off
	}
	t.Partitions = append(t.Partitions, p)
}

// Read reads the table of a disk of so many bytes. sector is the disk's logical
// sector size in bytes, 0 if it is not known; tables written for another are
// found, too. A disk without a table gives None; one with a table that cannot
// be believed ErrDamaged; other errors are those of r.
func Read(r io.ReaderAt, size int64, sector int) (*Table, error) {
	first := make([]byte, mbrSize)
	if size < mbrSize {
		return &Table{}, nil
	}
	if err := readFull(r, first, 0); err != nil {
		return nil, fmt.Errorf("read the disk's first sector: %w", err)
	}
	boot, valid := parseMBR(first)
	if valid && !boot.protective() {
		return readMBR(r, size, boot)
	}
	// A protective MBR, or none at all: it may have been lost alone.
	t, err := readGPT(r, size, sector)
	switch {
	case err != nil:
		return nil, err
	case t != nil:
		if !valid {
			t.note("the disk has no protective MBR; its GPT is read all the same")
		}
		return t, nil
	case valid:
		return nil, fmt.Errorf("the disk says that it has a GPT, and neither copy of it is whole: %w", ErrDamaged)
	}
	return &Table{}, nil
}

// readFull is ReadAt without an io.EOF for a read that ends with the disk.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
