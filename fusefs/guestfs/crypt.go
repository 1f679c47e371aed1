package guestfs

import (
	"errors"
	"fmt"
	"strings"
)

// crypt is what is known of an encrypted volume.
type crypt struct {
	*family
	lock    lock    // nil: err says why
	clear   any     // a key that lies open on the volume, or nil
	content *Volume // nil: it is not open
	err     error   // of the header, or of the keys that were tried; nil: none was
}

// unlock tries the keys on the next volume that is locked.
func (l *layers) unlock() bool {
	if len(l.locked) == 0 {
		return false
	}
	v := l.locked[0]
	l.locked = l.locked[1:]
	c := v.crypt
	var content content
	switch {
	case c.clear != nil:
		content, c.err = c.lock.open(c.clear)
	case l.g.o.Keys != nil:
		content, c.err = l.g.o.Keys.open(c.family, c.lock)
	default:
		return true
	}
	if c.err != nil {
		return true
	}
	uuid, _, _, notes := c.lock.describe()
	name := c.prefix + uuid
	if !fileSafe(name) || uuid == "" {
		name = c.prefix + v.Name
	}
	c.content = &Volume{Name: name, Size: content.Size(), On: []string{v.Name}, r: content, notes: notes}
	l.put(c.content)
	return true
}

// encrypted is the signature of an encrypted volume.
func (v *Volume) encrypted(p *peek) *signature {
	c := v.crypt
	s := &signature{kind: c.kind, why: fmt.Sprintf("it is encrypted (%s)", c.name), advice: c.key}
	if c.lock == nil {
		if c.uuidAt > 0 {
			s.uuid = p.text(c.uuidAt, 40)
		}
		s.why, s.advice = fmt.Sprintf("%s: %v", s.why, c.err), c.tool
		return s
	}
	var variant string
	s.uuid, s.label, variant, _ = c.lock.describe()
	s.why = fmt.Sprintf("it is encrypted (%s)", variant)
	switch {
	case c.content != nil:
		s.why += ", and open"
		s.advice = "its content is volume " + c.content.Name
	case errors.Is(c.err, c.wrong):
		s.locked = true
		s.why += ", and none of the passphrases and key files that were given opens it"
		if more := strings.TrimPrefix(c.err.Error(), c.wrong.Error()); more != "" {
			s.why += more
		}
	case c.err != nil:
		s.why, s.advice = fmt.Sprintf("%s, and cannot be opened here: %v", s.why, c.err), c.tool
	default:
		s.locked = true
	}
	return s
}

// mayLieLocked is an error where some volume is locked, since what was looked for may
// lie in it; nil where none is.
func (g *Guest) mayLieLocked(what string) error {
	for _, v := range g.Volumes() {
		if v.crypt == nil || v.crypt.lock == nil || v.crypt.content != nil {
			continue
		}
		if s := v.encrypted(&peek{}); s.locked {
			return &UnreadableError{v.Name, s.kind, s.why + "; " + what + " may lie in it", s.advice, true}
		}
	}
	return nil
}

// maxCrypttab is how many lines of a crypttab are kept.
const maxCrypttab = 256

// readCrypttab keeps the names that the guest gives to what its encrypted volumes hold
// (crypttab(5)): they stand in its fstab, below /dev/mapper.
func (w *View) readCrypttab(g *Guest) {
	text, err := w.readFile("etc/crypttab")
	if err != nil {
		return // most guests have none
	}
	n := 0
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if n++; n > maxCrypttab {
			return
		}
		v, err := g.device(strings.ReplaceAll(f[1], `"`, ""))
		if err != nil || v.crypt == nil {
			continue
		}
		if v.crypt.content != nil {
			v = v.crypt.content
		}
		g.aliasMu.Lock()
		if g.aliases == nil {
			g.aliases = map[string]*Volume{}
		}
		g.aliases[f[0]] = v
		g.aliasMu.Unlock()
	}
}

// alias finds a volume by the guest's crypttab, or by the name that follows from the
// UUID of what it lies in; the encrypted volume itself where that is locked. nil: none.
func (g *Guest) alias(name string) *Volume {
	g.aliasMu.Lock()
	v := g.aliases[name]
	g.aliasMu.Unlock()
	if v != nil {
		return v
	}
	for _, v := range g.Volumes() {
		if v.crypt == nil || v.crypt.lock == nil {
			continue
		}
		if uuid, _, _, _ := v.crypt.lock.describe(); uuid != "" && name == v.crypt.prefix+uuid {
			return v
		}
	}
	return nil
}
