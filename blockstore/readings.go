package blockstore

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// readings remembers when each pack was last read whole by a check of its data,
// in a small file of the host's state directory. Nothing depends on the file: one that
// is lost, torn or altered only makes the next check begin anew.
type readings struct {
	path string // "": nothing is remembered

	mu    sync.Mutex
	times map[pack.ID]time.Time // to the second
	saved time.Time
}

// readingsPath is where the readings of a vault lie.
func readingsPath(stateDir string, id VaultID) string {
	if stateDir == "" {
		return ""
	}
	return filepath.Join(stateDir, "verify", string(id))
}

// loadReadings reads what is remembered. Times after now are those of a clock that
// was wrong.
func loadReadings(path string, now time.Time) (*readings, error) {
	r := &readings{path: path, times: map[pack.ID]time.Time{}, saved: now}
	if path == "" {
		return r, nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("what was read before: %w", err)
	}
	for id, t := range decodeReadings(b) {
		if !t.After(now) {
			r.times[id] = t
		}
	}
	return r, nil
}

const readingsHead = "holdfast verify 1\n"

// encodeReadings writes a line for each pack and a checksum at the end.
func encodeReadings(times map[pack.ID]time.Time) []byte {
	ids := make([]pack.ID, 0, len(times))
	for id := range times {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b pack.ID) int { return bytes.Compare(a[:], b[:]) })
	b := []byte(readingsHead)
	for _, id := range ids {
		b = fmt.Appendf(b, "%s %d\n", id, times[id].Unix())
	}
	return fmt.Appendf(b, "sum %08x\n", crc32.ChecksumIEEE(b))
}

// decodeReadings returns nothing for what encodeReadings did not write.
func decodeReadings(b []byte) map[pack.ID]time.Time {
	const sum = len("sum 01234567\n")
	if len(b) < len(readingsHead)+sum || string(b[:len(readingsHead)]) != readingsHead {
		return nil
	}
	body, tail := b[:len(b)-sum], b[len(b)-sum:]
	if string(tail) != fmt.Sprintf("sum %08x\n", crc32.ChecksumIEEE(body)) {
		return nil
	}
	times := map[pack.ID]time.Time{}
	for line := range strings.Lines(string(body[len(readingsHead):])) {
		name, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		id, err := pack.ParseID(name)
		seconds, err2 := strconv.ParseInt(text, 10, 64)
		if err != nil || err2 != nil {
			return nil
		}
		times[id] = time.Unix(seconds, 0).UTC()
	}
	return times
}

// last returns when a pack was read last; zero: never.
func (r *readings) last(id pack.ID) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.times[id]
}

// note remembers that a pack was read, and writes the file now and then.
func (r *readings) note(id pack.ID, at time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times[id] = at.UTC().Truncate(time.Second)
	if time.Since(r.saved) < 10*time.Second {
		return nil
	}
	return r.write()
}

// keepOnly forgets packs that are gone.
func (r *readings) keepOnly(there map[pack.ID]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.times {
		if !there[id] {
			delete(r.times, id)
		}
	}
}

func (r *readings) save() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.write()
}

// write replaces the file, whole or not at all. The caller holds mu.
func (r *readings) write() error {
	r.saved = time.Now()
	if r.path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(r.path), 0o700); err != nil {
		return fmt.Errorf("remember what was read: %w", err)
	}
	temp := r.path + "." + rand.Text()
	err := os.WriteFile(temp, encodeReadings(r.times), 0o600)
	if err == nil {
		err = os.Rename(temp, r.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("remember what was read: %w", err), removeIfThere(temp))
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
