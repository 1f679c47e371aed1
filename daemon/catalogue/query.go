package catalogue

import (
	"bytes"
	"path"
	"strings"
	"time"
)

// Query is what a search looks for; zero fields fit everything.
type Query struct {
	Volume string // the tree; "": the guest's root
	Top    string // an absolute path: only it and what is below it; "" and "/": all
	AllOf  bool   // all trees, not Volume alone

	Name         string                 // as [path.Match] has it, of the last name
	Path         func(path string) bool // of the whole path; nil: all
	Type         uint32                 // of stat(2): 0o100000
	Newer, Older time.Time              // last changed after, before
	Least        int64                  // bytes
	Most         int64                  // bytes; negative: no limit

	Deleted bool // only what the newest point does not have
}

// CheckName tells whether a pattern can be one of names.
func CheckName(pattern string) error {
	_, err := path.Match(pattern, "")
	return err
}

// matcher tells which keys a query is about. It belongs to one goroutine.
type matcher struct {
	q     Query
	top   []byte
	plain func(name []byte) bool // of the name; nil: none is asked for
}

func newMatcher(q Query) *matcher {
	m := &matcher{q: q, top: appendKey(nil, q.Volume, path.Clean("/"+q.Top))}
	if q.Name != "" {
		m.plain = namePattern(q.Name)
	}
	return m
}

// fits tells whether a key is one that is looked for.
func (m *matcher) fits(key []byte) bool {
	if m.plain != nil && !m.plain(baseName(key)) {
		return false
	}
	if !m.inside(key) {
		return false
	}
	if m.q.Path != nil {
		_, p := splitKey(key)
		return m.q.Path(p)
	}
	return true
}

func (m *matcher) inside(key []byte) bool {
	if m.q.AllOf {
		return true
	}
	if len(m.top) == 0 { // the whole root
		return len(key) == 0 || key[0] == 0
	}
	return below(key, m.top)
}

// version tells whether what is listed of a file is looked for.
func (q *Query) version(a Attr) bool {
	if q.Type != 0 && a.Mode&typeMask != q.Type || a.Size < q.Least || q.Most >= 0 && a.Size > q.Most {
		return false
	}
	if q.Newer.IsZero() && q.Older.IsZero() {
		return true
	}
	at := a.Modified()
	return (q.Newer.IsZero() || at.After(q.Newer)) && (q.Older.IsZero() || at.Before(q.Older))
}

// namePattern makes a pattern quick: most are words with a star at an end.
func namePattern(p string) func([]byte) bool {
	const meta = `*?[\`
	if word, ok := strings.CutPrefix(p, "*"); ok && !strings.ContainsAny(word, meta) {
		return func(b []byte) bool { return bytes.HasSuffix(b, []byte(word)) }
	}
	if word, ok := strings.CutSuffix(p, "*"); ok && !strings.ContainsAny(word, meta) {
		return func(b []byte) bool { return bytes.HasPrefix(b, []byte(word)) }
	}
	if !strings.ContainsAny(p, meta) {
		return func(b []byte) bool { return string(b) == p }
	}
	// What stands before the first sign that means something must be there; most names end here.
	head := []byte(p[:strings.IndexAny(p, meta)])
	tail := []byte(nil)
	if !strings.ContainsAny(p, `[\`) {
		tail = []byte(p[strings.LastIndexAny(p, meta)+1:])
	}
	return func(b []byte) bool {
		if !bytes.HasPrefix(b, head) || !bytes.HasSuffix(b, tail) {
			return false
		}
		ok, _ := path.Match(p, string(b))
		return ok
	}
}
