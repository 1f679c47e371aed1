package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/smallfile"
)

// memory is what a scheduler remembers over restarts: when what is done for a vault as a whole was
// begun last, by vault and kind. Safe for concurrent use.
type memory struct {
	path string // of the file

	mu   sync.Mutex
	last map[string]map[string]time.Time
}

// maxMemory is far more than is remembered of any vaults, in bytes.
const maxMemory = 1 << 20

// openMemory reads the file, which may be missing; one that cannot be read is set aside, and the
// error says so: what is due is done once more.
func openMemory(path string) (*memory, error) {
	m := &memory{path: path, last: map[string]map[string]time.Time{}}
	b, err := smallfile.Read(path, maxMemory)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &m.last)
	}
	if err != nil {
		m.last = map[string]map[string]time.Time{}
		os.Rename(path, path+".damaged")
		return m, fmt.Errorf("read %s: %w", path, err)
	}
	return m, nil
}

// since returns when a kind was begun last in a vault. Of one that never was, that is now,
// from now on.
func (m *memory) since(vault, kind string, now time.Time) (time.Time, error) {
	m.mu.Lock()
	t, ok := m.last[vault][kind]
	m.mu.Unlock()
	if ok {
		return t, nil
	}
	return now, m.begun(vault, kind, now)
}

// begun notes that a kind is begun in a vault.
func (m *memory) begun(vault, kind string, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last[vault] == nil {
		m.last[vault] = map[string]time.Time{}
	}
	m.last[vault][kind] = at.UTC().Truncate(time.Second)
	b, err := json.Marshal(m.last)
	if err == nil {
		err = smallfile.Replace(m.path, b, 0o600, smallfile.Durably)
	}
	if err != nil {
		return fmt.Errorf("remember when %s was done: %w", kind, err)
	}
	return nil
}
