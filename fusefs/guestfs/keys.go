package guestfs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/luks"
)

// maxFound is how many keys of volumes are remembered.
const maxFound = 256

// Keys are passphrases and key files that open encrypted volumes. They are kept in memory
// only, and print as nothing. One may serve many guests: what opened a volume in one
// point opens it in the next without trying all key slots again. Safe from several
// goroutines; one key is derived at a time, since that may take a GiB of memory.
type Keys struct {
	// Limits bound what trying one key on one volume may cost.
	Limits luks.Limits

	mu      sync.Mutex // guards what follows; held while a key is derived
	secrets [][]byte
	found   map[string]any // what opened a volume, by its UUID
}

// NewKeys takes passphrases, without a newline at their end, and contents of key files.
func NewKeys(secrets ...[]byte) *Keys {
	return &Keys{secrets: slices.Clone(secrets), found: map[string]any{}}
}

// Add takes one more. Guests that looked at their volumes before do not try it.
func (k *Keys) Add(secret []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.secrets = append(k.secrets, slices.Clone(secret))
}

// Found are the keys of volumes that some keys opened so far, without passphrases and key files:
// they open these volumes at other points too, and cost nothing to try. nil where there are none.
func Found(some ...*Keys) *Keys {
	all := NewKeys()
	for _, k := range some {
		k.mu.Lock()
		maps.Copy(all.found, k.found)
		k.mu.Unlock()
	}
	if len(all.found) == 0 {
		return nil
	}
	return all
}

// String and GoString keep secrets out of texts.
func (k *Keys) String() string { return "(keys)" }

// GoString is for %#v.
func (k *Keys) GoString() string { return "(keys)" }

// Format is for all other verbs.
func (k *Keys) Format(f fmt.State, _ rune) { fmt.Fprint(f, "(keys)") }

// open returns the content of a volume, the family's error where no key fits, or what
// keeps it from being read.
func (k *Keys) open(f *family, l lock) (content, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	uuid, _, _, _ := l.describe()
	if key, ok := k.found[uuid]; ok && l.opens(key) {
		return l.open(key)
	}
	err := f.wrong
	for _, secret := range k.secrets {
		var key any
		if key, err = l.unlock(secret, k.Limits); err == nil {
			if len(k.found) < maxFound {
				k.found[uuid] = key
			}
			return l.open(key)
		}
		if !errors.Is(err, f.wrong) {
			break
		}
	}
	return nil, err
}
