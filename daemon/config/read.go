package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/holdfast-backup/holdfast/daemon/strict"
)

// maxFile is how long a configuration may be, in bytes.
const maxFile = 1 << 20

// Notifications are what a configuration says of notifications, as whoever sends them
// understands it. The methods are those of a pointer to a struct of YAML.
type Notifications interface{ Check() error }

// ReadFile is Read of a file; its error names it.
func ReadFile(path, zone string, n Notifications) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	c, err := Read(b, zone, n)
	if err != nil {
		return Config{}, &Error{path, err}
	}
	return c, nil
}

// Error is what is wrong in a file of configuration: an error for each line, joined.
type Error struct {
	Path string
	Err  error
}

func (e *Error) Error() string {
	return fmt.Sprintf("configuration %s: %s", e.Path, strings.ReplaceAll(e.Err.Error(), "\n", "\n  "))
}
func (e *Error) Unwrap() error { return e.Err }

// Read makes a Config of the text of a file, for a host of a time zone. The section of
// notifications is read into n, a pointer; where n is nil there must be none.
func Read(b []byte, zone string, n Notifications) (Config, error) {
	c := defaults(zone)
	f, err := strict.Parse(b, maxFile)
	if errors.Is(err, strict.ErrEmpty) {
		return Config{}, fmt.Errorf("%w: %w", err, errNoVault)
	}
	if err != nil {
		return Config{}, err
	}
	section := f.Take("notifications")
	switch {
	case section != nil && n == nil:
		return Config{}, errors.New("there is a section of notifications, and nobody who sends them")
	case section != nil:
		if err := section.Decode(n); err != nil {
			return Config{}, err
		}
		c.Notifications = n
	}
	if err := f.Decode(&c); err != nil {
		return Config{}, err
	}
	for i := range c.Vaults {
		c.Vaults[i].fill(zone)
	}
	errs := c.wrong()
	if section != nil {
		if err := n.Check(); err != nil {
			errs = append(errs, fault{[]string{"notifications"}, err})
		}
	}
	return c, tell(f, section, errs)
}

// fill puts what is usual where nothing is said.
func (v *Vault) fill(zone string) {
	usual := usualVault(cmp.Or(zone, "UTC"))
	v.AtOnce = cmp.Or(v.AtOnce, usual.AtOnce)
	v.Sweep, v.Check = cmp.Or(v.Sweep, usual.Sweep), cmp.Or(v.Check, usual.Check)
	v.Verify, v.Prune = cmp.Or(v.Verify, usual.Verify), cmp.Or(v.Prune, usual.Prune)
	v.Catalogue = cmp.Or(v.Catalogue, usual.Catalogue)
	v.Timezone = cmp.Or(v.Timezone, usual.Timezone)
}

// fault is what is wrong with the value of a key below others.
type fault struct {
	key []string
	err error
}

// tell joins faults in the order of the file.
func tell(f, notifications *strict.File, faults []fault) error {
	type told struct {
		line int
		err  error
	}
	var all []told
	for _, x := range faults {
		line := f.Line(x.key...)
		if x.key[0] == "notifications" && notifications != nil {
			line = notifications.Start()
		}
		at := ""
		if line > 0 {
			at = fmt.Sprintf("line %d: ", line)
		}
		all = append(all, told{line, fmt.Errorf("%s%s: %w", at, name(x.key), x.err)})
	}
	slices.SortStableFunc(all, func(a, b told) int { return cmp.Compare(a.line, b.line) })
	var errs []error
	for _, t := range all {
		errs = append(errs, t.err)
	}
	return errors.Join(errs...)
}

// name writes a key as people say it: vaults[0].path.
func name(key []string) string {
	s := key[0]
	for _, k := range key[1:] {
		if k[0] >= '0' && k[0] <= '9' {
			s += "[" + k + "]"
		} else {
			s += "." + k
		}
	}
	return s
}

// Text writes the configuration as a file says it, with everything filled in.
func (c Config) Text() ([]byte, error) { return yaml.Marshal(c) }
