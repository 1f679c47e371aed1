package index

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAnIndexWhoseFolderIsGoneIsClosedWithAnError closes an index that has something to write, and nowhere to write it.
func TestAnIndexWhoseFolderIsGoneIsClosedWithAnError(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "index")
	x := open(t, dir)
	add(t, x, 1, entries(0, 10))
	away := dir + ".away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err == nil || !strings.Contains(err.Error(), "flushing") {
		t.Errorf("it is closed with %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder was made again")
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	x = open(t, dir)
	want(t, x, 3, 1, true) // by its log
	closeDB(t, x)
}
