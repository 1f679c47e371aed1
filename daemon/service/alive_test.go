package service

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestOneDaemonLivesInAFolderAndTheNextWaitsForItsEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if Alive(dir) {
		t.Fatal("a daemon lives in an empty folder")
	}
	end, err := Live(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // looking takes nothing from it
		if !Alive(dir) {
			t.Error("the daemon is not seen")
		}
	}
	at, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Live(at, dir); !errors.Is(err, ErrAlive) {
		t.Errorf("a second one: %v", err)
	}
	time.AfterFunc(20*time.Millisecond, func() { end() })
	next, err := Live(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := next(); err != nil || Alive(dir) {
		t.Errorf("%v, or it lives after its end", err)
	}
}
