package backend

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// A test binary that finds these set does one thing for a test and ends.
const (
	lockEnv  = "HOLDFAST_TEST_LOCK"
	umaskEnv = "HOLDFAST_TEST_UMASK"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(lockEnv); dir != "" {
		os.Exit(tryLock(dir))
	}
	if dir := os.Getenv(umaskEnv); dir != "" {
		os.Exit(writeUnderUmask(dir))
	}
	os.Exit(m.Run())
}

func tryLock(dir string) int {
	switch _, err := NewDir(dir).Lock("OWNER"); {
	case err == nil:
		return 10
	case errors.Is(err, ErrLocked):
		return 11
	}
	return 12
}

// writeUnderUmask writes under the umask that would hurt most.
func writeUnderUmask(dir string) int {
	syscall.Umask(0o777)
	d := NewDir(dir)
	if err := d.Write("a/b/file", []byte("x")); err != nil {
		return 12
	}
	if _, err := d.Lock("a/OWNER"); err != nil {
		return 13
	}
	syscall.Umask(0)
	if err := d.Write("c/file", []byte("x")); err != nil {
		return 14
	}
	if _, err := d.Lock("c/OWNER"); err != nil {
		return 15
	}
	return 10
}

// again runs this test binary in another process and returns how it ended.
func again(t *testing.T, env, dir string) int {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), env+"="+dir)
	out, err := c.CombinedOutput()
	if c.ProcessState == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return c.ProcessState.ExitCode()
}

func TestALockKeepsAnotherProcessOutUntilItIsReleased(t *testing.T) {
	dir := t.TempDir()
	d := NewDir(dir)
	l, err := d.Lock("OWNER")
	if err != nil {
		t.Fatal(err)
	}
	if got := again(t, lockEnv, dir); got != 11 {
		t.Errorf("another process ends with %d while the lock is held", got)
	}
	if _, err := d.Lock("OWNER"); !errors.Is(err, ErrLocked) {
		t.Errorf("a second lock of this process: %v", err)
	}
	for _, text := range []string{"a longer text", "short"} {
		if err := l.Rewrite([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if b, err := d.ReadFile("OWNER", 100); err != nil || string(b) != text {
			t.Errorf("reads %q, %v", b, err)
		}
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	if got := again(t, lockEnv, dir); got != 10 {
		t.Errorf("another process ends with %d after the release", got)
	}
	l, err = d.Lock("OWNER") // that process ended without releasing
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
}

func TestFilesAndFoldersArePrivateWhateverTheUmask(t *testing.T) {
	dir := t.TempDir()
	if got := again(t, umaskEnv, dir); got != 10 {
		t.Fatalf("the process ends with %d", got)
	}
	for name, want := range map[string]fs.FileMode{
		"a": 0o700, "a/b": 0o700, "a/b/file": 0o600, "a/OWNER": 0o600, "c": 0o700, "c/file": 0o600, "c/OWNER": 0o600,
	} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", name, st.Mode().Perm(), want)
		}
	}
}

// tree lists all names, temporary ones too.
func tree(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(dir, p)
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestAFileIsVisibleOnlyOnceItIsCommitted(t *testing.T) {
	dir := t.TempDir()
	d := NewDir(dir)
	f, err := d.Create("packs/aa/one")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("world"), 6); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("hello "), 0); err != nil {
		t.Fatal(err)
	}
	if names, err := d.List("packs/aa"); err != nil || len(names) != 0 {
		t.Errorf("before the commit: %v, %v", names, err)
	}
	if all := tree(t, dir); len(all) != 1 {
		t.Errorf("files %v, want one under a temporary name", all)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	f.Abort() // does nothing now
	if b, err := d.ReadFile("packs/aa/one", 100); err != nil || string(b) != "hello world" {
		t.Errorf("reads %q, %v", b, err)
	}
	if all := tree(t, dir); !slices.Equal(all, []string{"packs/aa/one"}) {
		t.Errorf("files %v", all)
	}
}

func TestAnAbortedFileLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	f, err := NewDir(dir).Create("a/b")
	if err != nil {
		t.Fatal(err)
	}
	f.Abort()
	f.Abort()
	if all := tree(t, dir); len(all) != 0 {
		t.Errorf("files %v", all)
	}
}

func TestANameThatIsTakenStaysWhatItIs(t *testing.T) {
	dir := t.TempDir()
	d := NewDir(dir)
	if err := d.Write("x/y", []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := d.Write("x/y", []byte("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second file of the name: %v", err)
	}
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			switch err := d.Write("x/race", bytes.Repeat([]byte{byte(i)}, 1000)); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, fs.ErrExist):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b, err := d.ReadFile("x/race", 2000)
	if err != nil || len(b) != 1000 || won.Load() != 1 || bytes.Count(b, b[:1]) != 1000 {
		t.Errorf("%d of 8 made it, %d bytes, %v", won.Load(), len(b), err)
	}
	if b, err := d.ReadFile("x/y", 100); err != nil || string(b) != "first" {
		t.Errorf("reads %q, %v", b, err)
	}
	if all := tree(t, dir); !slices.Equal(all, []string{"x/race", "x/y"}) {
		t.Errorf("files %v", all)
	}
}

func TestWhatAWriterThatDiedLeftIsHiddenAndGoesWhenAsked(t *testing.T) {
	dir := t.TempDir()
	d := NewDir(dir)
	if err := d.Write("f/kept", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Create("f/never"); err != nil { // neither committed nor aborted
		t.Fatal(err)
	}
	names, err := d.List("f")
	if err != nil || !slices.Equal(names, []string{"kept"}) {
		t.Errorf("lists %v, %v", names, err)
	}
	if err := d.RemoveTemps("f"); err != nil {
		t.Fatal(err)
	}
	if all := tree(t, dir); !slices.Equal(all, []string{"f/kept"}) {
		t.Errorf("files %v", all)
	}
	if err := d.RemoveTemps("not there"); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNotThereIsToldByItsError(t *testing.T) {
	d := NewDir(t.TempDir())
	if names, err := d.List("nothing"); names != nil || err != nil {
		t.Errorf("list: %v, %v", names, err)
	}
	if _, err := d.ReadFile("nothing", 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read: %v", err)
	}
	if err := d.Remove("nothing"); err != nil {
		t.Errorf("remove: %v", err)
	}
	if err := d.Write("big", make([]byte, 11)); err != nil {
		t.Fatal(err)
	}
	if b, err := d.ReadFile("big", 10); err == nil {
		t.Errorf("%d bytes of a file that may have 10", len(b))
	}
	if b, err := d.ReadFile("big", 11); err != nil || len(b) != 11 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if err := d.Remove("big"); err != nil {
		t.Error(err)
	}
}

func TestAFileThatDoesNotTellItsSizeIsReadWhole(t *testing.T) {
	t.Parallel()
	d := NewDir("/proc")
	whole, err := os.ReadFile("/proc/filesystems")
	if err != nil || len(whole) == 0 {
		t.Fatal(err)
	}
	if b, err := d.ReadFile("filesystems", 1<<20); err != nil || !bytes.Equal(b, whole) {
		t.Errorf("%d bytes of %d, %v", len(b), len(whole), err)
	}
	if b, err := d.ReadFile("filesystems", int64(len(whole))-1); err == nil {
		t.Errorf("%d bytes of %d, of which one more may not be", len(b), len(whole))
	}
}

func TestAFileWhoseWriteOrSyncFailsIsGone(t *testing.T) {
	dir := t.TempDir()
	d := NewDir(dir)
	for name, failing := range map[string]func(){
		"write": func() {
			d.Ops.WriteAt = func(*os.File, string, []byte, int64) (int, error) { return 0, syscall.ENOSPC }
		},
		"sync": func() { d.Ops.Sync = func(*os.File, string) error { return syscall.ENOSPC } },
	} {
		if err := d.MakeDir("f"); err != nil {
			t.Fatal(err)
		}
		was := d.Ops
		failing()
		if err := d.Write("f/"+name, []byte("x")); !errors.Is(err, ErrFull) {
			t.Errorf("%s: %v", name, err)
		}
		d.Ops = was
	}
	if all := tree(t, dir); len(all) != 0 {
		t.Errorf("files %v", all)
	}
}

func TestTheFloorIsATwentiethAndMoreOnLargeFileSystems(t *testing.T) {
	const gib = 1 << 30
	for total, want := range map[int64]int64{0: 0, 100 * gib: 5 * gib, 200 * gib: 10 * gib, 201 * gib: 20 * gib, 1000 * gib: 50 * gib} {
		if got := Floor(total); got != want {
			t.Errorf("of %d bytes: %d, want %d", total, got, want)
		}
	}
	d := NewDir(t.TempDir())
	free, total, err := d.Space()
	if err != nil || free > total {
		t.Fatalf("%d of %d free, %v", free, total, err)
	}
	if err := d.CheckSpace(0, 1<<60); !errors.Is(err, ErrFull) {
		t.Errorf("an exbibyte: %v", err)
	}
}
