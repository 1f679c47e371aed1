package blockstore

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestEachSingleLossIsSurvivedWithAWordAboutWhatWasDone loses or damages one
// file, or one kind of file, and goes on.
func TestEachSingleLossIsSurvivedWithAWordAboutWhatWasDone(t *testing.T) {
	s := makeSample(t)
	footer := func(b []byte) []byte { b[len(b)-50] ^= 1; return b }
	middle := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	for _, test := range []struct {
		name, file string
		do         func([]byte) []byte // nil: it is removed
		says       string
	}{
		{"VAULT lost", s.files["VAULT"], nil, "was written again, from the copy in a pack"},
		{"VAULT damaged", s.files["VAULT"], middle, "was written again, from the copy in a pack"},
		{"all segments lost", segmentsDir, nil, ""},
		{"a segment cut", s.files["segment"], func(b []byte) []byte { return b[:len(b)-1] }, "was damaged; what it told was written again"},
		{"a footer of a pack of blocks", s.files["pack of blocks"], footer, "its records are searched for"},
		{"a footer of a pack of pages", s.files["pack of pages"], footer, "its records are searched for"},
		{"the index", indexDir, nil, ""},
		{"a point lost", s.files["point"], nil, "was put back from a segment"},
		{"a point damaged", s.files["point"], middle, "was written again, from a segment"},
		{"a machine lost", s.files["machine"], nil, "it was written again, from its points"},
		{"OWNER lost", s.files["OWNER"], nil, ""},
		{"OWNER damaged", s.files["OWNER"], middle, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := copyVault(t, s.dir)
			file := filepath.Join(dir, test.file)
			if test.do == nil {
				if err := os.RemoveAll(file); err != nil {
					t.Fatal(err)
				}
			} else if err := os.WriteFile(file, test.do(mustRead(t, file)), 0o600); err != nil {
				t.Fatal(err)
			}
			s.survives(t, dir, test.says)
		})
	}
}

func (s *sample) survives(t *testing.T, dir, says string) {
	t.Helper()
	var mu sync.Mutex
	var said strings.Builder
	o := ownVault(t, dir, OwnOptions{Options: Options{Warn: func(text string) {
		mu.Lock()
		defer mu.Unlock()
		said.WriteString(text + "\n")
	}}})
	p := backUp(t, o, "web1", map[string]Source{"vda": memory(s.last)})
	if p.Seq != 4 || p.Sizes.Stored > 20<<10 {
		t.Errorf("the next point is number %d and stored %d bytes", p.Seq, p.Sizes.Stored)
	}
	mustClose(t, o)
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(said.String(), says) {
		t.Errorf("it was not said that it %s, but: %s", says, &said)
	}
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for place := range s.failedReads(t, v) {
		t.Errorf("%s cannot be read", place)
	}
	report, err := v.Check(t.Context(), CheckOptions{Data: true})
	if err != nil || report.Harmed() {
		t.Errorf("%+v, %v", report, err)
	}
}
