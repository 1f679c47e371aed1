package lvm

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Bounds of a text of metadata.
const (
	maxDepth  = 8
	maxValues = 1 << 19
)

// section holds string, int64, list and section.
type section map[string]any

type list []any // of string and int64

// textReader parses the text format 1: `name = value`, `name { ... }`, values being
// numbers, strings and lists of these; # begins a comment.
type textReader struct {
	rest   string
	depth  int
	values int
}

var errEnds = errors.New("it ends within a section")

func parseText(s string) (section, error) {
	t := textReader{rest: strings.TrimRight(s, "\x00")}
	return t.section()
}

func (t *textReader) space() {
	for t.rest != "" {
		switch {
		case t.rest[0] == '#':
			_, t.rest, _ = strings.Cut(t.rest, "\n")
		case t.rest[0] <= ' ':
			t.rest = t.rest[1:]
		default:
			return
		}
	}
}

// section reads up to the brace that ends it, or to the end of the text for the
// outermost.
func (t *textReader) section() (section, error) {
	if t.depth++; t.depth > maxDepth {
		return nil, errors.New("its sections are nested too deeply")
	}
	defer func() { t.depth-- }()
	s := section{}
	for {
		t.space()
		switch {
		case t.rest == "" && t.depth == 1:
			return s, nil
		case t.rest == "":
			return nil, errEnds
		case t.rest[0] == '}' && t.depth > 1:
			t.rest = t.rest[1:]
			return s, nil
		}
		name, value, err := t.assignment()
		if err != nil {
			return nil, err
		}
		s[name] = value
	}
}

func (t *textReader) assignment() (name string, value any, err error) {
	if t.values++; t.values > maxValues {
		return "", nil, errors.New("it holds too many values")
	}
	end := strings.IndexFunc(t.rest, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`={}[]",#`, r) })
	if end <= 0 {
		return "", nil, fmt.Errorf("a name is missing before %.20q", t.rest)
	}
	name, t.rest = t.rest[:end], t.rest[end:]
	t.space()
	switch {
	case strings.HasPrefix(t.rest, "="):
		t.rest = t.rest[1:]
		value, err = t.value()
	case strings.HasPrefix(t.rest, "{"):
		t.rest = t.rest[1:]
		value, err = t.section()
	default:
		err = fmt.Errorf("%.40q is neither a value nor a section", name)
	}
	return name, value, err
}

func (t *textReader) value() (any, error) {
	t.space()
	if strings.HasPrefix(t.rest, "[") {
		t.rest = t.rest[1:]
		return t.list()
	}
	return t.scalar()
}

func (t *textReader) list() (list, error) {
	l := list{}
	for {
		t.space()
		switch {
		case t.rest == "":
			return nil, errEnds
		case t.rest[0] == ']':
			t.rest = t.rest[1:]
			return l, nil
		case t.rest[0] == ',':
			t.rest = t.rest[1:]
			continue
		}
		if t.values++; t.values > maxValues {
			return nil, errors.New("it holds too many values")
		}
		v, err := t.scalar()
		if err != nil {
			return nil, err
		}
		l = append(l, v)
	}
}

func (t *textReader) scalar() (any, error) {
	if strings.HasPrefix(t.rest, `"`) {
		return t.quoted()
	}
	end := strings.IndexFunc(t.rest, func(r rune) bool { return !strings.ContainsRune("0123456789+-.eE", r) })
	if end < 0 {
		end = len(t.rest)
	}
	word := t.rest[:end]
	t.rest = t.rest[end:]
	if n, err := strconv.ParseInt(word, 10, 64); err == nil {
		return n, nil
	}
	if _, err := strconv.ParseFloat(word, 64); err != nil {
		return nil, fmt.Errorf("%.20q is no value", word+t.rest[:min(20, len(t.rest))])
	}
	return word, nil
}

func (t *textReader) quoted() (string, error) {
	var b strings.Builder
	for i := 1; i < len(t.rest); i++ {
		switch c := t.rest[i]; {
		case c == '"':
			t.rest = t.rest[i+1:]
			return b.String(), nil
		case c == '\\' && i+1 < len(t.rest):
			i++
			b.WriteByte(t.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", errors.New("a string has no end")
}

func (s section) text(name string) string  { v, _ := s[name].(string); return v }
func (s section) number(name string) int64 { v, _ := s[name].(int64); return v }
func (s section) sub(name string) section  { v, _ := s[name].(section); return v }
func (s section) list(name string) list    { v, _ := s[name].(list); return v }
func (s section) has(name, word string) bool {
	for _, v := range s.list(name) {
		if v == word {
			return true
		}
	}
	return s.text(name) == word
}
