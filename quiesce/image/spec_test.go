package image

import (
	"strings"
	"testing"
)

func TestSpecsAreParsed(t *testing.T) {
	for s, want := range map[string]Spec{
		"/a/b":                                {Path: "/a/b"},
		"a,,b,,,format=raw":                   {Path: "a,b,", Format: "raw"},
		"x=y,format=qcow2,backing=/d,,e":      {Path: "x=y", Format: "qcow2", Backing: []string{"/d,e"}},
		"x,backing=/d,format=qcow2,backing=e": {Path: "x", Format: "qcow2", Backing: []string{"/d", "e"}},
	} {
		got, err := ParseSpec(s)
		if err != nil || got.Path != want.Path || got.Format != want.Format || strings.Join(got.Backing, "|") != strings.Join(want.Backing, "|") {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
	for _, bad := range []string{"", ",format=raw", "a,format=vmdk", "a,format=", "a,backing", "a,b", "a,format=raw,format=raw", "a,"} {
		if got, err := ParseSpec(bad); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}
