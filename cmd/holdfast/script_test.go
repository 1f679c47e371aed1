package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// outcome is what a command line led to.
type outcome struct {
	out, err string
	code     int
}

// shell runs command lines in this process, as a script would.
type shell struct {
	t   *testing.T
	ctx context.Context
	env map[string]string
}

func newShell(t *testing.T) *shell {
	dir := t.TempDir() // a daemon of this host is none of theirs
	return &shell{t, t.Context(), map[string]string{"HOLDFAST_STATE": filepath.Join(dir, "state"), "HOLDFAST_RUN": filepath.Join(dir, "run")}}
}

// run obeys words.
func (s *shell) run(words ...string) outcome {
	s.t.Helper()
	var out, err bytes.Buffer
	k := &console{work: 10, out: &out, err: &err, getenv: func(n string) string { return s.env[n] }, local: time.FixedZone("X", 3600)}
	code := run(s.ctx, k, words)
	return outcome{out.String(), err.String(), code}
}

// must runs words and fails the test unless they lead to code.
func (s *shell) must(code int, words ...string) outcome {
	s.t.Helper()
	o := s.run(words...)
	if o.code != code {
		s.t.Fatalf("holdfast %s: exit code %d, want %d\nstdout: %s\nstderr: %s", strings.Join(words, " "), o.code, code, o.out, o.err)
	}
	return o
}

func (o outcome) says(t *testing.T, text string) {
	t.Helper()
	if !strings.Contains(o.out+o.err, text) {
		t.Errorf("%q is missing in\nstdout: %s\nstderr: %s", text, o.out, o.err)
	}
}
