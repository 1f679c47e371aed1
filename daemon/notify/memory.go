package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/holdfast-backup/holdfast/daemon/smallfile"
)

// memory is what is remembered over a restart.
type memory struct {
	Jobs []trouble                  `json:"jobs"`
	Told map[string]map[string]said `json:"told"` // by receiver, then by key
}

// maxMemory is how long the file of a memory may be, in bytes.
const maxMemory = 64 << 20

// load reads what is remembered. A file that is not understood is nothing, and an error to tell.
func load(name string) (m memory, err error) {
	m.Told = map[string]map[string]said{}
	if name == "" {
		return m, nil
	}
	b, err := smallfile.Read(name, maxMemory)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	var read memory
	if err == nil {
		err = json.Unmarshal(b, &read)
	}
	if err != nil || len(read.Jobs) > maxTroubles {
		return m, fmt.Errorf("what was told before: %s: %w", name, orOdd(err))
	}
	if read.Told == nil {
		read.Told = m.Told
	}
	return read, nil
}

func orOdd(err error) error {
	if err == nil {
		return errors.New("it is not what was written")
	}
	return err
}

// save replaces what is remembered, whole or not at all.
func (m *memory) save(name string) error {
	if name == "" {
		return nil
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return smallfile.Replace(name, b, 0o600, smallfile.Lightly)
}
