package main

import (
	"regexp"
	"testing"
)

// generation is what counts the changes of a record, and says when the last was.
var generation = regexp.MustCompile(`"generation": [0-9]+|"since": "[^"]*"|changed +[0-9]\S+`)

func TestSmallChangesAreTheSameThroughADaemonAndWithout(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.backup("--quiet")
	protect := []string{"protect", "web3", "--disk", "vda=" + h.path("vda.img"), "--exclude", "vdb", "--freeze-timeout", "3s", "--pre", "true", "--hook-timeout", "5s"}
	same := func(s string) string {
		return generation.ReplaceAllString(varies.ReplaceAllString(beside.ReplaceAllString(s, ""), "X"), "X")
	}
	h.must(exitDone, "policy", "set", "nightly", "--machines", "web*", "--schedule", "daily at 22:00")
	h.must(exitWarnings, protect...)
	h.must(exitDone, "point", "note", "web1@latest", "seen")
	for _, words := range [][]string{
		protect, append(protect, "--json"), {"protect", "web3", "--disk", "vda=/none"},
		{"point", "note", "web1@latest", "seen"}, {"point", "note", "web1@p0000000000000000", "seen"}, {"point", "lock", "web1@latest", "--until", "2099-12-31"},
		{"point", "undelete", "web1@latest"}, {"point", "delete", "nobody@latest"}, {"point", "give-up", "web1@latest", "--yes"},
		{"policy", "set", "nightly", "--keep-daily", "7"},
		{"machine", "rename", "web3", "web1"}, {"machine", "rename", "nobody", "web9"}, {"unprotect", "web1"},
		{"hold", "web1", "--for", "1h", "--drain"},
	} {
		without, calls := h.run(words...), h.calls
		with := h.throughCtx(h.ctx, words...)
		if h.calls == calls {
			t.Errorf("%v: no daemon was asked", words)
		}
		if without.code != with.code || same(without.out) != same(with.out) || same(without.err) != same(with.err) {
			t.Errorf("%v:\nwithout: %d\n%s%s\nwith: %d\n%s%s", words, without.code, without.out, without.err, with.code, with.out, with.err)
		}
	}
}
