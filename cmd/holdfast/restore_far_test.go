package main

import (
	"strings"
	"syscall"
	"testing"
)

func TestWhoMayNotOpenAVaultRestoresThroughItsDaemon(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.away = true
	older := "web1@" + h.points[0].ID
	h.through(exitDone, "restore", older, "--disk", "vda", "--to", h.path("far.raw"), "--verify", "--quiet").says(t, "vda")
	h.holds("far.raw", h.vda[0])
	var st syscall.Stat_t
	if err := syscall.Stat(h.path("far.raw"), &st); err != nil || st.Blocks*512 >= st.Size {
		t.Errorf("it is not sparse: %d of %d bytes, %v", st.Blocks*512, st.Size, err)
	}
	h.through(exitDone, "restore", "web1@latest", "--disk", "vda="+h.path("a.raw"), "--disk", "vdb="+h.path("b.raw"), "--quiet", "--json")
	h.holds("a.raw", h.vda[1])
	h.holds("b.raw", h.vdb)
	if o := h.through(exitDone, "restore", "web1@latest", "--disk", "vdb", "--to", "-", "--quiet"); o.out != string(h.vdb) {
		t.Errorf("standard output got %d bytes, want %d", len(o.out), len(h.vdb))
	}
	for words, code := range map[string]int{
		"restore web1@p0000000000000000 --disk vda --to " + h.path("c.raw"): exitNotFound,
		"restore nobody@latest --disk vda --to " + h.path("c.raw"):          exitNotFound,
		"restore web1@latest --disk vdz --to " + h.path("c.raw"):            exitNotFound,
		"restore web1@latest --to " + h.path("c.raw"):                       exitUsage, // two disks
		"restore web1@latest --to " + h.path("folder") + "/":                exitUsage,
	} {
		h.through(code, strings.Fields(words)...)
	}
	if o := h.through(exitFailed, "restore", "web1@latest", "--disk", "vda", "--to", h.path("a.raw")); !strings.Contains(o.err, "--force") {
		t.Errorf("a file that is there: %s", o.err)
	}
}
