package catalogue

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// goldenEntries are of all kinds that there are.
func goldenEntries() []Entry {
	folder := Attr{Mode: 0o40755, Timed: true, Sec: 1_700_000_000, Nsec: 1, Ino: 2, Size: 4096}
	file := Attr{Mode: 0o100640, UID: 1000, GID: 100, Size: 1 << 40, Timed: true, Sec: -86_401, Nsec: 999_999_999, Ino: 1 << 60}
	other := file
	other.Timed, other.Sec, other.Nsec, other.Size = false, 0, 0, 0
	key := func(tree, path string) []byte { return appendKey(nil, tree, path) }
	return []Entry{
		{Key: key("", "/"), Attr: folder},
		{Key: key("", "/etc"), Attr: folder},
		{Key: key("", "/etc/passwd"), Attr: file},
		{Key: key("", "/etc/passwd-"), Attr: other},
		{Key: key("", "/etc/shadow"), Gone: true},
		{Key: key("", "/etc/\xff\x01\n"), Attr: file},
		{Key: key("vdb1", "/"), Attr: folder},
		{Key: key("vdb1", "/x"), Attr: file},
	}
}

func encodeFrames(t testing.TB, entries []Entry) (frames [][]byte) {
	t.Helper()
	w := &frameWriter{put: func(b []byte) error { frames = append(frames, slices.Clone(b)); return nil }}
	for i := range entries {
		if err := w.add(&entries[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	return frames
}

func decodeFrame(frame []byte) (entries []Entry, err error) {
	var r frameReader
	if err := r.begin(frame); err != nil {
		return nil, err
	}
	for {
		more, err := r.next()
		if err != nil || !more {
			return entries, err
		}
		e := r.e
		e.Key = slices.Clone(e.Key)
		entries = append(entries, e)
	}
}

func TestTheBytesOfAFrameStayWhatTheyAre(t *testing.T) {
	frames := encodeFrames(t, goldenEntries())
	if len(frames) != 1 {
		t.Fatalf("%d frames", len(frames))
	}
	const golden = "testdata/entries.hex"
	if *update {
		if err := os.WriteFile(golden, []byte(hex.Dump(frames[0])), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || string(want) != hex.Dump(frames[0]) {
		t.Errorf("%v\n%s", err, hex.Dump(frames[0]))
	}
	got, err := decodeFrame(frames[0])
	if err != nil || !reflect.DeepEqual(got, goldenEntries()) {
		t.Errorf("%v (%v)", got, err)
	}
}

func TestManyEntriesLieInFramesThatStandForThemselves(t *testing.T) {
	var all []Entry
	for i := range 20_000 {
		all = append(all, Entry{Key: appendKey(nil, "", "/"+strings.Repeat("x", i%200)+hex.EncodeToString([]byte{byte(i >> 8), byte(i)})), Attr: Attr{Mode: 0o100644, Ino: uint64(i)}})
	}
	slices.SortFunc(all, func(a, b Entry) int { return bytes.Compare(a.Key, b.Key) })
	var got []Entry
	frames := encodeFrames(t, all)
	for _, f := range frames {
		if len(f) > blockstore.MaxCatalogueFrame {
			t.Errorf("a frame of %d bytes", len(f))
		}
		part, err := decodeFrame(f)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, part...)
	}
	if len(frames) < 3 || !reflect.DeepEqual(got, all) {
		t.Errorf("%d entries in %d frames, want %d", len(got), len(frames), len(all))
	}
	w := &frameWriter{put: func([]byte) error { return nil }}
	if err := w.add(&Entry{Key: make([]byte, maxKey+1)}); err == nil {
		t.Error("a key that nobody would read was written")
	}
}

func TestFramesThatAreNoneAreRefused(t *testing.T) {
	good := encodeFrames(t, goldenEntries())[0]
	for name, b := range map[string][]byte{
		"nothing":           {},
		"another kind":      []byte("S{}"),
		"flags":             {'E', 8, 0, 0},
		"gone with a time":  {'E', 3, 0, 0},
		"same as nothing":   {'E', 4, 0, 0, 0, 0},
		"shares too much":   {'E', 1, 1, 0},
		"longer than it is": {'E', 1, 0, 5, 'x'},
		"a huge mode":       {'E', 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"a negative size":   {'E', 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		"nanoseconds":       {'E', 2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0},
		"an endless number": {'E', 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80},
	} {
		if _, err := decodeFrame(b); !errors.Is(err, blockstore.ErrCatalogue) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := 2; n < len(good); n++ { // wherever it is cut, what is there is whole or an error
		if got, err := decodeFrame(good[:n]); err == nil && len(got) == len(goldenEntries()) {
			t.Errorf("cut after %d bytes it is whole", n)
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(encodeFrames(f, goldenEntries())[0])
	f.Add([]byte("E\x01\x00\x01x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := decodeFrame(b)
		if err != nil {
			if !errors.Is(err, blockstore.ErrCatalogue) {
				t.Errorf("damage is %v", err)
			}
			return
		}
		var again []Entry
		for _, frame := range encodeFrames(t, entries) {
			part, err := decodeFrame(frame)
			if err != nil {
				t.Fatal(err)
			}
			again = append(again, part...)
		}
		if !reflect.DeepEqual(again, entries) {
			t.Errorf("%v, then %v", entries, again)
		}
		for _, e := range entries {
			tree, path := splitKey(e.Key)
			if !strings.Contains(tree, "\x00") && !bytes.Contains(e.Key, []byte("/")) && !bytes.Equal(appendKey(nil, tree, path), e.Key) && path != "/" {
				t.Errorf("the key %q is %q, %q", e.Key, tree, path)
			}
		}
	})
}

func FuzzHead(f *testing.F) {
	f.Add([]byte(`H{"version":1,"point":"p1","machine":"m"}`))
	f.Add([]byte(`S{"trees":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := checkHead(b, blockstore.Catalogue{Point: "p1", Machine: "m"})
		if err != nil && !errors.Is(err, blockstore.ErrCatalogue) && !errors.Is(err, blockstore.ErrVersion) {
			t.Error(err)
		}
		var s Summary
		if err := decodeJSON(summaryFrame, b, &s); err != nil && !errors.Is(err, blockstore.ErrCatalogue) {
			t.Error(err)
		}
	})
}

func TestAHeadOfALaterVersionIsRefusedByName(t *testing.T) {
	_, err := checkHead([]byte(`H{"version":2,"point":"p1","machine":"m"}`), blockstore.Catalogue{Point: "p1", Machine: "m"})
	if !errors.Is(err, blockstore.ErrVersion) || !strings.Contains(err.Error(), "version 2") {
		t.Error(err)
	}
}

func TestKeysSortAFolderBeforeWhatIsInIt(t *testing.T) {
	var keys [][]byte
	for _, p := range []string{"/", "/a", "/a/b", "/a/b/c", "/a.b", "/a0", "/b", "/\xff"} {
		keys = append(keys, appendKey(nil, "", p))
		if tree, path := splitKey(keys[len(keys)-1]); tree != "" || path != p {
			t.Errorf("%q became %q of %q", p, path, tree)
		}
	}
	if !slices.IsSortedFunc(keys, bytes.Compare) {
		t.Errorf("%q", keys)
	}
	if !below(keys[3], keys[1]) || below(keys[4], keys[1]) || below(keys[1], keys[3]) {
		t.Error("what is below what is mistaken")
	}
	p := newPrefixes([]Unread{{Key: []byte("\x00a\x00b")}, {Key: []byte("\x00a")}, {Key: []byte("vdb1")}})
	for key, want := range map[string]bool{"\x00a": true, "\x00a\x00b\x00c": true, "\x00a.b": false, "\x00b": false, "": false, "vdb1": true, "vdb1\x00x": true, "vdb10": false} {
		if p.cover([]byte(key)) != want {
			t.Errorf("%q: %v", key, !want)
		}
	}
}

func TestNamePatternsMeanWhatThoseOfFindMean(t *testing.T) {
	names := []string{"", "a", "report.xlsx", "report-1.xlsx", "xreport.xlsx", "report.xls", "re*port", "[x]", "b\xff", "ab", "aXb"}
	for _, p := range []string{"a", "*", "report*.xlsx", "*.xlsx", "report*", "?", "a?b", "[ab]", "*a*", `re\*port`, "b\xff", "*\xff", "[[]x]", "a*b"} {
		fits := namePattern(p)
		for _, n := range names {
			if want := matches(p, n); fits([]byte(n)) != want {
				t.Errorf("%q of %q: %v", p, n, !want)
			}
		}
	}
}

func matches(pattern, name string) bool {
	ok, _ := path.Match(pattern, name)
	return ok
}
