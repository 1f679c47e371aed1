package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/smallfile"
)

// What a store holds at most.
const (
	maxGrants = 10000
	maxTokens = 1000
	maxGlobs  = 100
	maxFile   = 16 << 20
)

// Errors of a store that callers tell apart.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("is there already")
	// ErrLogin says that a token is unknown, wrong or expired; it does not say which.
	ErrLogin = errors.New("the token is unknown, was revoked or has expired")
)

// Options say who has rights without a grant.
type Options struct {
	Group string // whose members have GroupRole; "": holdfast
	// GroupRole is the role of the group's members for all machines; "": viewer. None is
	// the word for no role at all.
	GroupRole Role
	UID       int // of the daemon; it and root are admins
	Now       func() time.Time
}

// None, as GroupRole, gives the members of the group nothing.
const None Role = "none"

// Store keeps grants and tokens in a folder. It is safe for concurrent use; one
// process at a time may have it open.
type Store struct {
	path, uses string
	o          Options

	mu      sync.Mutex
	kept    kept
	used    map[string]use // by name of a token
	flushed time.Time      // when used was last written
}

// kept is what the file holds.
type kept struct {
	Version int         `json:"version"` // 1
	Grants  []api.Grant `json:"grants"`
	Tokens  []token     `json:"tokens"`
}

// Open opens the store in folder dir, which is made when it is missing. A file that
// cannot be understood is an error: nobody is let in by a guess.
func Open(dir string, o Options) (*Store, error) {
	if o.Group == "" {
		o.Group = "holdfast"
	}
	if o.GroupRole == "" {
		o.GroupRole = Viewer
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the grants: %w", err)
	}
	s := &Store{path: filepath.Join(dir, "access.json"), uses: filepath.Join(dir, "token-use.json"), o: o,
		kept: kept{Version: 1}, used: map[string]use{}}
	b, err := readBounded(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("open the grants: %w", err)
	default:
		if err := s.decode(b); err != nil {
			return nil, fmt.Errorf("open the grants: %s: %w", s.path, err)
		}
	}
	s.readUses()
	return s, nil
}

// readBounded reads a file that only its owner may have written.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("%s can be written by others: `chmod 600 %s`, once you know what is in it", path, path)
	}
	return smallfile.ReadOpen(f, maxFile)
}

// decode takes over what a file holds, when all of it makes sense.
func (s *Store) decode(b []byte) error {
	var k kept
	if err := json.Unmarshal(b, &k); err != nil {
		return fmt.Errorf("is damaged: %w", err)
	}
	if k.Version != 1 {
		return fmt.Errorf("has version %d; this program knows 1", k.Version)
	}
	if len(k.Grants) > maxGrants || len(k.Tokens) > maxTokens {
		return fmt.Errorf("holds %d grants and %d tokens, more than can be", len(k.Grants), len(k.Tokens))
	}
	for _, g := range k.Grants {
		who, err := ParseWho(g.Who)
		if err == nil && who != g.Who {
			err = fmt.Errorf("%q is not written as %q", g.Who, who)
		}
		if role, roleErr := parseRole(g.Role); roleErr != nil || string(role) != g.Role {
			err = fmt.Errorf("%.40q is no role", g.Role)
		}
		if err := errors.Join(err, checkGlobs(g.Machines)); err != nil {
			return fmt.Errorf("is damaged: %w", err)
		}
	}
	for _, t := range k.Tokens {
		if !plainName(t.Name) || !t.sound() {
			return fmt.Errorf("is damaged: the token %.40q", t.Name)
		}
	}
	s.kept = k
	return nil
}

// change replaces what is kept by what edit makes of a copy of it: on disk first, then
// here. Whoever calls it holds no lock.
func (s *Store) change(edit func(*kept) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := kept{Version: 1, Grants: slices.Clone(s.kept.Grants), Tokens: slices.Clone(s.kept.Tokens)}
	if err := edit(&next); err != nil {
		return err
	}
	b, err := json.MarshalIndent(next, "", " ")
	if err != nil {
		return err
	}
	if err := smallfile.Replace(s.path, b, 0o600, smallfile.Durably); err != nil {
		return fmt.Errorf("keep the grants: %w", err)
	}
	s.kept = next
	return nil
}
