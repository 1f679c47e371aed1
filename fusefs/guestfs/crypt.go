package guestfs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/luks"
)

// crypt is what is known of an encrypted volume.
type crypt struct {
	header  *luks.Header // nil: err says why
	content *Volume      // nil: it is not open
	err     error        // of the header, or of the keys that were tried; nil: none was
}

// unlock tries the keys on the next volume that is locked.
func (l *layers) unlock() bool {
	if len(l.locked) == 0 || l.g.o.Keys == nil {
		return false
	}
	v := l.locked[0]
	l.locked = l.locked[1:]
	content, err := l.g.o.Keys.open(v.crypt.header)
	if err != nil {
		v.crypt.err = err
		return true
	}
	name := "luks-" + v.crypt.header.UUID
	if !fileSafe(name) || name == "luks-" {
		name = "luks-" + v.Name
	}
	v.crypt.content = &Volume{Name: name, Size: content.Size(), On: []string{v.Name}, r: content, notes: v.crypt.header.Notes}
	l.put(v.crypt.content)
	return true
}

// encrypted is the signature of a volume of LUKS.
func (v *Volume) encrypted(p *peek) *signature {
	c := v.crypt
	s := &signature{kind: "crypto_LUKS", uuid: p.text(168, 40), why: "it is encrypted (LUKS)", advice: adviceKey}
	if c.header == nil {
		s.why, s.advice = fmt.Sprintf("it is encrypted (LUKS): %v", c.err), adviceLUKS
		return s
	}
	s.uuid, s.label = c.header.UUID, c.header.Label
	s.why = fmt.Sprintf("it is encrypted (LUKS %d)", c.header.Version)
	switch {
	case c.content != nil:
		s.why += ", and open"
		s.advice = "its content is volume " + c.content.Name
	case errors.Is(c.err, luks.ErrWrongKey):
		s.locked = true
		s.why += ", and none of the passphrases and key files that were given opens it"
		if more := strings.TrimPrefix(c.err.Error(), luks.ErrWrongKey.Error()); more != "" {
			s.why += more
		}
	case c.err != nil:
		s.why, s.advice = fmt.Sprintf("%s, and cannot be opened here: %v", s.why, c.err), adviceLUKS
	default:
		s.locked = true
	}
	return s
}

// mayLieLocked is an error where some volume is locked, since what was looked for may
// lie in it; nil where none is.
func (g *Guest) mayLieLocked(what string) error {
	for _, v := range g.Volumes() {
		if v.crypt == nil || v.crypt.header == nil || v.crypt.content != nil {
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
		if v.crypt != nil && v.crypt.header != nil && name == "luks-"+v.crypt.header.UUID {
			return v
		}
	}
	return nil
}
