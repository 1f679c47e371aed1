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
	torn   bool // the file does not end with a whole line
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
	e.Time = api.At(l.o.Now())
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write the audit log: %w", err)
	}
	if err := l.write(append(line, '\n')); err != nil {
		return fmt.Errorf("write the audit log: %w", err)
	}
	return nil
}

// write appends a line by one call of the system; l.mu is held.
func (l *Log) write(line []byte) error {
	if l.f == nil {
		return os.ErrClosed
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
	return errors.Join(err, turned)
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
