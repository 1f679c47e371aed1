package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// LogOptions bound an audit log; the zero value is 16 files of 8 MiB.
type LogOptions struct {
	FileSize int64 // bytes, after which a new file is begun
	Files    int   // that are kept, the present one among them
	Now      func() time.Time
}

// Log is the audit log: files audit-NUMBER.jsonl in a folder, one JSON object a line,
// opened for appending alone. When a file is full the next is begun, and the oldest goes. A
// line is in the system's hands when Append returns, and on the disk when the system
// puts it there. Log is safe for concurrent use; one process at a time may have it open.
type Log struct {
	dir string
	o   LogOptions

	mu     sync.Mutex
	f      *os.File
	number int64
	size   int64
	torn   bool      // the file does not end with a whole line
	lost   int64     // lines that could not be written since the last one that was
	since  time.Time // when the first of them was to be
}

const (
	maxField = 1024     // bytes of a text in an entry
	maxLine  = 32 << 10 // bytes of a line that is read
)

// OpenLog opens the audit log in folder dir, which is made when it is missing.
func OpenLog(dir string, o LogOptions) (*Log, error) {
	if o.FileSize <= 0 {
		o.FileSize = 8 << 20
	}
	if o.Files <= 0 {
		o.Files = 16
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &Log{dir: dir, o: o}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	numbers, err := l.numbers()
	if err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	l.number = 1
	if len(numbers) > 0 {
		l.number = numbers[len(numbers)-1]
	}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	return l, nil
}

func (l *Log) name(number int64) string {
	return filepath.Join(l.dir, fmt.Sprintf("audit-%08d.jsonl", number))
}

// numbers lists the files that there are, oldest first.
func (l *Log) numbers() ([]int64, error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, err
	}
	var found []int64
	for _, e := range entries {
		var n int64
		if _, err := fmt.Sscanf(e.Name(), "audit-%d.jsonl", &n); err == nil && n > 0 && filepath.Base(l.name(n)) == e.Name() {
			found = append(found, n)
		}
	}
	slices.Sort(found)
	return found, nil
}

// open opens file l.number; l.mu is held, or nobody knows l yet.
func (l *Log) open() error {
	f, err := os.OpenFile(l.name(l.number), os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.f, l.size, l.torn = f, info.Size(), false
	if last := []byte{0}; l.size > 0 {
		_, err := f.ReadAt(last, l.size-1)
		l.torn = err != nil || last[0] != '\n'
	}
	return nil
}

// Append adds an entry, with the present time. Long texts are cut short.
func (l *Log) Append(e api.AuditEntry) error {
	for _, text := range []*string{&e.Who, &e.From, &e.Action, &e.Vault, &e.Machine, &e.Object, &e.Outcome, &e.Detail, &e.Said} {
		if len(*text) > maxField {
			*text = strings.ToValidUTF8((*text)[:maxField], "") + "..."
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.o.Now()
	e.Time = api.At(now)
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write the audit log: %w", err)
	}
	line = append(line, '\n')
	if gap := l.gap(now); gap != nil && l.f != nil {
		line = append(gap, line...)
	}
	written, err := l.write(line)
	switch {
	case written:
		l.lost = 0
	case l.lost == 0:
		l.lost, l.since = 1, now
	default:
		l.lost++
	}
	if err != nil {
		return fmt.Errorf("write the audit log: %w", err)
	}
	return nil
}

// gap is a line that says how many could not be written before it; nil: none.
func (l *Log) gap(now time.Time) []byte {
	if l.lost == 0 {
		return nil
	}
	line, err := json.Marshal(api.AuditEntry{Time: api.At(now), Who: "holdfast", From: "the daemon", Action: "audit-gap", Outcome: api.AuditFailed,
		Detail: fmt.Sprintf("%d lines could not be written since %s: the daemon's own log has them", l.lost, l.since.UTC().Format(time.RFC3339))})
	if err != nil {
		return nil // it holds no more than numbers
	}
	return append(line, '\n')
}

// Lost is how many lines could not be written since the last one that was, and since when; with the next that can be,
// the log says so itself.
func (l *Log) Lost() (lines int64, since time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost, l.since
}

// write appends lines by one call of the system, and tells whether they are there; l.mu is held.
func (l *Log) write(line []byte) (written bool, err error) {
	if l.f == nil {
		return false, os.ErrClosed
	}
	var turned error // does not keep the line from the file that is there
	if l.size > 0 && l.size+int64(len(line)) > l.o.FileSize {
		turned = l.next()
	}
	if l.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := l.f.Write(line)
	l.size += int64(n)
	l.torn = err != nil && (n > 0 || l.torn)
	return err == nil, errors.Join(err, turned)
}

// next begins the next file, and removes those that are too many; l.mu is held.
func (l *Log) next() error {
	full := l.f
	l.number++
	if err := l.open(); err != nil {
		l.number--
		return err
	}
	err := errors.Join(full.Sync(), full.Close())
	numbers, listErr := l.numbers()
	for len(numbers) > l.o.Files {
		err = errors.Join(err, os.Remove(l.name(numbers[0])))
		numbers = numbers[1:]
	}
	return errors.Join(err, listErr)
}

// Close ends the log, with all of it on the disk.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	err := errors.Join(l.f.Sync(), l.f.Close())
	l.f = nil
	return err
}
