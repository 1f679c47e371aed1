package udf

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/wtf8"
)

// decodeCS0 decodes OSTA's compressed Unicode: 8 or 16 bits for a character, as the first
// byte says; 254 and 255 are the same of names that were deleted.
func decodeCS0(b []byte) (string, bool) {
	if len(b) == 0 {
		return "", true
	}
	switch kind, b := b[0], b[1:]; kind {
	case 8, 254:
		var s strings.Builder
		for _, c := range b {
			s.WriteRune(rune(c))
		}
		return s.String(), true
	case 16, 255:
		if len(b)%2 != 0 {
			return "", false
		}
		little := make([]byte, len(b))
		for i := 0; i < len(b); i += 2 {
			little[i], little[i+1] = b[i+1], b[i]
		}
		return wtf8.Decode(little), true
	}
	return "", false
}

// dstring is a field of fixed length whose last byte says how much of it counts.
func dstring(b []byte) string {
	n := min(int(b[len(b)-1]), len(b)-1)
	s, _ := decodeCS0(b[:n])
	s, _, _ = strings.Cut(s, "\x00")
	return strings.ToValidUTF8(s, "\uFFFD")
}

// uuidOf makes of a volume set's identifier what blkid(8) prints: its first 16 digits,
// or the bytes of its beginning where they are none.
func uuidOf(b []byte) string {
	s := dstring(b)
	if utf8.RuneCountInString(s) < 8 {
		return ""
	}
	id := make([]byte, 16)
	copy(id, s)
	digits := strings.IndexFunc(string(id), func(r rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF", r) })
	switch {
	case digits < 0:
		return strings.ToLower(string(id))
	case digits < 8:
		return fmt.Sprintf("%x", id[:8])
	}
	return strings.ToLower(string(id[:8])) + fmt.Sprintf("%x", id[8:12])
}

// Kinds of the components of a symbolic link: ECMA-167 4/14.16.1.
const (
	componentVolume = 1
	componentRoot   = 2
	componentAbove  = 3
	componentHere   = 4
	componentName   = 5
)

// linkTarget puts the components of a link together.
func linkTarget(b []byte, what string, at int64) (string, error) {
	var parts []string
	top := ""
	for len(b) > 0 {
		if len(b) < 4 || 4+int(b[1]) > len(b) {
			return "", corrupt(what, at, "a component of its target is cut short")
		}
		kind, id := b[0], b[4:4+int(b[1])]
		b = b[4+len(id):]
		switch kind {
		case componentVolume, componentRoot:
			if kind == componentVolume && len(id) > 0 {
				return "", &tree.UnsupportedError{What: what, Why: "its target begins at a place on which writer and reader must agree"}
			}
			top, parts = "/", nil
		case componentAbove:
			parts = append(parts, "..")
		case componentHere:
			parts = append(parts, ".")
		case componentName:
			name, ok := decodeCS0(id)
			if !ok || name == "" || strings.ContainsAny(name, "/\x00") {
				return "", corrupt(what, at, "its target has the name %q", name)
			}
			parts = append(parts, name)
		default:
			return "", corrupt(what, at, "its target has a component of kind %d", kind)
		}
	}
	if top == "" && len(parts) == 0 {
		return "", corrupt(what, at, "it has no target")
	}
	return top + strings.Join(parts, "/"), nil
}
