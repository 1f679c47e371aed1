package smallfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAFileIsReplacedWholeOrStaysAsItIs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "grants")
	for _, how := range []How{Lightly, Durably} {
		if err := Replace(path, []byte("one"), 0o640, how); err != nil {
			t.Fatal(err)
		}
		broken := errors.New("broken")
		if err := Write(path, 0o640, how, func(w io.Writer) error { w.Write([]byte("tw")); return broken }); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
		st, err := os.Stat(path)
		if b, e := Read(path, 3); err != nil || e != nil || string(b) != "one" || st.Mode() != 0o640 {
			t.Errorf("%q, %v, %v, %v", b, st.Mode(), err, e)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestWhatIsNoSmallFileIsNotRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe, large := filepath.Join(dir, "pipe"), filepath.Join(dir, "large")
	if err := errors.Join(unix.Mkfifo(pipe, 0o600), os.WriteFile(large, make([]byte, 101), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, large, dir, "/dev/zero", filepath.Join(dir, "none")} {
		if b, err := Read(path, 100); err == nil {
			t.Errorf("%s holds %d bytes", path, len(b))
		}
	}
}
