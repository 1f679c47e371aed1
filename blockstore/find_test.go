package blockstore

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func at(s string) time.Time {
	t, err := time.Parse(LabelLayout, s)
	if err != nil {
		panic(err)
	}
	return t
}

func findPoints() []*Point {
	return []*Point{
		{ID: "p1111111111111111", Machine: "aaaaaaaaaaaaaaaa", MachineName: "db", Time: at("2026-11-21T22-00-05Z")},
		{ID: "p1122222222222222", Machine: "aaaaaaaaaaaaaaaa", MachineName: "db", Time: at("2026-11-22T22-00-05Z")},
		{ID: "p3333333333333333", Machine: "aaaaaaaaaaaaaaaa", MachineName: "db", Time: at("2026-11-22T22-00-05Z")},
		{ID: "p4444444444444444", Machine: "aaaaaaaaaaaaaaaa", MachineName: "db", Time: at("2025-01-01T00-00-00Z")},
		{ID: "p5555555555555555", Machine: "bbbbbbbbbbbbbbbb", MachineName: "twin", Time: at("2026-11-22T22-00-05Z")},
		{ID: "p6666666666666666", Machine: "cccccccccccccccc", MachineName: "twin", Time: at("2026-11-22T22-00-05Z")},
		{ID: "p7777777777777777", Machine: "dddddddddddddddd", MachineName: "aaaaaaaaaaaaaaaa", Time: at("2026-11-22T22-00-05Z")},
	}
}

func TestAPointIsFoundByWhatNamesItAloneAndNothingElse(t *testing.T) {
	for ref, want := range map[string]any{
		"db@latest":               "p4444444444444444", // the last in the order of sequence, not of time
		"db@p4":                   "p4444444444444444",
		"db@p4444444444444444":    "p4444444444444444",
		"db@p11":                  ErrAmbiguous,
		"db@p111":                 "p1111111111111111",
		"db@p":                    ErrAmbiguous,
		"db@p9":                   ErrNotFound,
		"db@2025":                 "p4444444444444444",
		"db@2026":                 ErrAmbiguous,
		"db@2026-11-21":           "p1111111111111111",
		"db@2026-11-21T22:00:05Z": "p1111111111111111",
		"db@2026-11-22T22-00-05Z": ErrAmbiguous, // two of one second
		"db@2027":                 ErrNotFound,
		"db@":                     ErrNotFound,
		"db@20":                   ErrNotFound,
		"db@yesterday":            ErrNotFound,
		"db@P4":                   ErrNotFound,
		"db@../x":                 ErrNotFound,
		"nobody@latest":           ErrNotFound,
		"twin@latest":             ErrAmbiguous,
		"bbbbbbbbbbbbbbbb@latest": "p5555555555555555",
		"aaaaaaaaaaaaaaaa@latest": "p4444444444444444", // an id, though a machine is named so
		"dddddddddddddddd@latest": "p7777777777777777",
	} {
		machine, point, _ := strings.Cut(ref, "@")
		p, err := FindPoint(findPoints(), machine, point)
		switch want := want.(type) {
		case string:
			if err != nil || string(p.ID) != want {
				t.Errorf("%s: %v, %v", ref, p, err)
			}
		case error:
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, %v; want %v", ref, p, err, want)
			}
		}
	}
	_, err := FindPoint(findPoints(), "db", "2026")
	for _, id := range []string{"p1111111111111111", "p1122222222222222", "p3333333333333333"} {
		if !strings.Contains(err.Error(), id) {
			t.Errorf("%v does not list %s", err, id)
		}
	}
	if _, err := FindPoint(nil, "", ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("in an empty vault: %v", err)
	}
}

func FuzzFindPoint(f *testing.F) {
	for _, ref := range []string{"latest", "p1", "2026-11-22T22:00", "", "p", "\xff"} {
		f.Add("db", ref)
	}
	f.Add("aaaaaaaaaaaaaaaa", "2026")
	points := findPoints()
	f.Fuzz(func(t *testing.T, machine, ref string) {
		p, err := FindPoint(points, machine, ref)
		switch {
		case err == nil && p == nil, err != nil && p != nil:
			t.Errorf("%v, %v", p, err)
		case err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrAmbiguous):
			t.Error(err)
		case err == nil && p.MachineName != machine && string(p.Machine) != machine:
			t.Errorf("a point of %s", p.MachineName)
		}
	})
}

func TestNamesThatCouldHurtAreRefusedWithAReason(t *testing.T) {
	for _, good := range []string{"a", "web1", "WEB-1", "a.b", "vda", "..a", "_", "+x", strings.Repeat("x", 64)} {
		if err := CheckMachineName(good); err != nil {
			t.Error(err)
		}
	}
	for bad, says := range map[string]string{
		"": "empty", ".": "meaning", "..": "meaning", "...": "meaning", "latest": "meaning", "-rf": "meaning", "a/b": "only letters",
		"../x": "only letters", "a b": "only letters", "a\x00": "only letters", "a\n": "only letters", "é": "only letters",
		strings.Repeat("x", 65): "65 bytes", strings.Repeat("\x1b[2J", 2500): "10000 bytes",
	} {
		for _, check := range []func(string) error{CheckMachineName, CheckDiskName, CheckConfigName} {
			err := check(bad)
			if err == nil || !strings.Contains(err.Error(), says) || len(err.Error()) > 250 || strings.ContainsAny(err.Error(), "\x00\x1b\n") {
				t.Errorf("%.20q: %v", bad, err)
			}
		}
	}
}

func FuzzNames(f *testing.F) {
	f.Add("web1")
	f.Add("..")
	f.Add("00000001-p0123456789abcdef")
	f.Fuzz(func(t *testing.T, s string) {
		if CheckMachineName(s) == nil && (strings.ContainsAny(s, "/\x00 \n'\"\\$") || s == "." || s == ".." || len(s) > 64) {
			t.Errorf("%q may name a machine", s)
		}
		if n, rest, ok := parseNumbered(s); ok && n < 1e8 && len(s)-len(rest) == 9 && numbered(n, rest) != s {
			t.Errorf("%q is %d and %q", s, n, rest)
		}
	})
}
