package restore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// Mark says what a target is being made into in place. As long as it is there, the
// target holds neither its old content nor the new.
type Mark struct {
	Vault   blockstore.VaultID `json:"vault"`
	Machine string             `json:"machine"`
	Point   blockstore.PointID `json:"point"`            // that it is becoming
	Disk    string             `json:"disk"`             // of that point
	Before  blockstore.PointID `json:"before,omitempty"` // that holds its old content; empty: none does
	Began   time.Time          `json:"began"`

	// Mixed says that an interrupted restore of another point left something there, too.
	Mixed bool `json:"mixed,omitempty"`
}

func (m *Mark) String() string {
	s := fmt.Sprintf("a restore of disk %s of %s@%s that began at %s", m.Disk, m.Machine, m.Point, m.Began.UTC().Format(time.RFC3339))
	if m.Before != "" {
		s += fmt.Sprintf(" (what it held before is point %s)", m.Before)
	}
	return s
}

// A mark in text is this line and one of JSON, no longer than maxMark.
const (
	markLine = "Holdfast restores in place here, version 1\n"
	maxMark  = 2048
)

func (m *Mark) encode() ([]byte, error) {
	b, err := json.Marshal(m)
	if err == nil && len(markLine)+len(b)+1 > maxMark {
		err = fmt.Errorf("mark of %d bytes", len(b))
	}
	return append(append([]byte(markLine), b...), '\n'), err
}

// decodeMark reads a mark that b begins with. It returns nil where there is none, and an
// error for one that cannot be read.
func decodeMark(b []byte) (*Mark, error) {
	rest, found := bytes.CutPrefix(b, []byte(markLine))
	if !found {
		if bytes.HasPrefix(b, []byte(markLine[:len(markLine)-2])) {
			return nil, errors.New("it is marked by a restore in place of another version: finish it with that one")
		}
		return nil, nil
	}
	text, _, found := bytes.Cut(rest[:min(len(rest), maxMark)], []byte("\n"))
	m := new(Mark)
	if err := json.Unmarshal(text, m); err != nil || !found {
		return nil, errors.Join(errors.New("the mark of an interrupted restore cannot be read"), err)
	}
	return m, nil
}

// Names of what lies beside a file while it is restored in place.
func hiddenAway(path string) string { return path + ".holdfast-restoring" }
func markPath(path string) string   { return hiddenAway(path) + ".json" }

// readMarkFile reads the mark beside a file; nil: there is none.
func readMarkFile(path string) (*Mark, error) {
	f, err := os.Open(markPath(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMark+1))
	if err != nil {
		return nil, err
	}
	m, err := decodeMark(b)
	if err != nil {
		err = fmt.Errorf("%s: %w", f.Name(), err)
	}
	return m, err
}

// writeMarkFile puts the mark beside a file, in one step and durably.
func writeMarkFile(path string, m *Mark) error {
	b, err := m.encode()
	if err != nil {
		return err
	}
	sweepLeftovers(markPath(path))
	temp, err := createTemp(markPath(path), 0, fileOptions{force: true, mode: 0o600})
	if err != nil {
		return err
	}
	if _, err := temp.WriteAt(b, 0); err != nil {
		return errors.Join(err, temp.Abort())
	}
	if err := temp.Sync(); err != nil {
		return errors.Join(err, temp.Abort())
	}
	return temp.Commit()
}

func removeMarkFile(path string) error {
	err := os.Remove(markPath(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncFolder(filepath.Dir(path)))
}

// hide gives a file the name under which no machine looks for it; show gives the old name
// back. Both are durable when they return.
func hide(path string) error { return rename(path, hiddenAway(path)) }
func show(path string) error { return rename(hiddenAway(path), path) }

func rename(from, to string) error {
	if err := renameNew(from, to); err != nil {
		if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("something appeared under the name %s meanwhile: move it away, and restore again: %w", to, err)
		}
		return err
	}
	return syncFolder(filepath.Dir(to))
}

// What a device or an export holds at its beginning while it is restored: a boot sector that
// says so, and the mark in what follows. A partition table, a superblock and the copy
// of a GUID partition table at the end are gone meanwhile, so that no guest starts
// from it or mounts it.
const (
	markEdge = 64 << 10 // bytes at each end that are written last
	markAt   = 512      // of the mark within them
)

// sign is the code of the boot sector: print the text behind it by the BIOS, and halt.
var sign = []byte{
	0xfc,       // cld
	0x31, 0xc0, // xor ax, ax
	0x8e, 0xd8, // mov ds, ax
	0xbe, 0x18, 0x7c, // mov si, 0x7c18: the text
	0xac,       // next: lodsb
	0x84, 0xc0, // test al, al
	0x74, 0x06, // jz end
	0xb4, 0x0e, // mov ah, 0x0e
	0xcd, 0x10, // int 0x10
	0xeb, 0xf5, // jmp next
	0xf4,       // end: hlt
	0xeb, 0xfd, // jmp end
	0x90, 0x90,
}

const signText = "This disk is being restored by Holdfast, or that was interrupted.\r\nOn its host, run the same command again:\r\n  holdfast restore %s@%s --in-place\r\n\x00"

// markBlock is the beginning of a device that is being restored.
func markBlock(m *Mark) ([]byte, error) {
	b := make([]byte, 4096)
	n := copy(b, sign)
	text := fmt.Sprintf(signText, m.Machine, m.Point)
	copy(b[n:508], text)
	b[509], b[510], b[511] = 0, 0x55, 0xaa
	mark, err := m.encode()
	copy(b[markAt:], mark)
	return b, err
}
