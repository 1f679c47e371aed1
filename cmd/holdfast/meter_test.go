package main

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestProgressWithoutATerminalIsPlainLines(t *testing.T) {
	t.Parallel()
	m := &meter{what: "backup", bytes: true}
	for _, test := range []struct {
		done, total int64
		after       time.Duration
		want        string
	}{
		{0, 0, 0, "backup: 0 B"},
		{0, 4 << 30, time.Second, "backup: 0 B of 4 GiB (0%)"},
		{1 << 30, 4 << 30, 10 * time.Second, "backup: 1 GiB of 4 GiB (25%), 102 MiB/s, 30s left"},
		{4 << 30, 4 << 30, 40 * time.Second, "backup: 4 GiB of 4 GiB (100%), 102 MiB/s, 0s left"},
	} {
		if got := m.plain(test.done, test.total, test.after); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
	m = &meter{what: "index"}
	if got := m.plain(5, 10, time.Second); got != "index: 5 of 10 (50%), 1s left" {
		t.Errorf("%q", got)
	}
}

func TestAProgressBarMayBeFedByManyAndLeavesTheScreen(t *testing.T) {
	t.Parallel()
	for _, terminal := range []bool{true, false} {
		var err bytes.Buffer
		k := &console{err: &err, terminal: terminal}
		failed := errors.New("x")
		got := k.measure("backup", true, false, func(set func(done, total int64)) error {
			var feeders sync.WaitGroup
			for i := range int64(8) {
				feeders.Go(func() {
					for n := range int64(1000) {
						set(i*1000+n, 8000)
					}
				})
			}
			k.say("waiting: somebody")
			feeders.Wait()
			k.mu.Lock()
			k.meter.show(time.Now().Add(barAfter))
			k.mu.Unlock()
			return failed
		})
		if got != failed || k.meter != nil {
			t.Errorf("measure returned %v and left meter %v", got, k.meter)
		}
		if !strings.Contains(err.String(), "waiting: somebody\n") {
			t.Errorf("what was said is lost: %q", err.String())
		}
	}
}

func TestQuietShowsNoProgress(t *testing.T) {
	t.Parallel()
	var err bytes.Buffer
	k := &console{err: &err, terminal: true}
	if e := k.measure("backup", true, true, func(set func(done, total int64)) error { set(1, 2); return nil }); e != nil || err.Len() > 0 {
		t.Errorf("%v, %q", e, err.String())
	}
}
