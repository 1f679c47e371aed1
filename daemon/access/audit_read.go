package access

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// Bounds of what is read of an audit log at once.
const (
	usualEntries = 1000
	mostEntries  = 10000
)

// Read returns the newest entries that a query asks for, oldest first. Lines that are no
// entry are passed over: a disk that was full cuts one short.
func (l *Log) Read(ctx context.Context, q api.AuditQuery) ([]api.AuditEntry, error) {
	limit := min(q.Limit, mostEntries)
	if limit <= 0 {
		limit = usualEntries
	}
	since := time.Time{}
	if q.Since != nil {
		since = q.Since.Time
	}
	numbers, err := l.numbers()
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	var files [][]api.AuditEntry // newest first
	for left := limit; len(numbers) > 0 && left > 0; numbers = numbers[:len(numbers)-1] {
		found, older, err := readEntries(ctx, l.name(numbers[len(numbers)-1]), since, left)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // removed meanwhile: its time was over
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		files = append(files, found)
		left -= len(found)
		if older {
			break
		}
	}
	slices.Reverse(files)
	return append([]api.AuditEntry{}, slices.Concat(files...)...), nil
}

// readEntries returns the last entries of a file since a time, and whether the file holds
// older ones, so that those before it do too.
func readEntries(ctx context.Context, path string, since time.Time, most int) (found []api.AuditEntry, older bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, maxLine)
	for ctx.Err() == nil {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return found[max(0, len(found)-most):], older, nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, false, err
		}
		var e api.AuditEntry
		if err != nil || json.Unmarshal(line, &e) != nil || e.Action == "" {
			continue
		}
		if e.Time.Before(since) {
			older = true
			continue
		}
		if found = append(found, e); len(found) >= 2*most {
			found = append(found[:0], found[len(found)-most:]...)
		}
	}
	return nil, false, ctx.Err()
}
