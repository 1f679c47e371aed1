package fusefs

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// lines gathers what is logged.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) with(s string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		if strings.Contains(line, s) {
			found = append(found, line)
		}
	}
	return found
}

func quick() Options { return Options{Refresh: 50 * time.Millisecond} }

// mount mounts v for the length of a test and returns where.
func mount(t testing.TB, v Vault, o Options) (string, *Server) {
	t.Helper()
	_, err := os.Stat("/dev/fuse")
	needs.That(t, err == nil, "/dev/fuse")
	dir := t.TempDir()
	s, err := Mount(context.Background(), dir, v, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Unmount(); err != nil {
			t.Error(err)
			s.UnmountLazily()
		}
	})
	stopPolling(t, dir)
	return dir, s
}

// stopPolling makes the kernel learn that we have no poll, so that the runtime of
// this very process, which serves the mount, may open files on it as well: its
// poller would wait for an answer from itself.
func stopPolling(t testing.TB, dir string) {
	t.Helper()
	files, err := filepath.Glob(dir + "/*/*/point.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("nothing is mounted at %s", dir)
	}
	fd, err := unix.Open(files[0], unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	unix.Close(fd)
}

// sh runs a shell script with $M, the mount, and returns what it prints.
func sh(t testing.TB, m, script string) string {
	t.Helper()
	cmd := exec.Command("sh", "-ec", script)
	cmd.Env = append(os.Environ(), "M="+m, "LC_ALL=C", "TZ=UTC")
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%s\n%v", script, out, err)
	}
	return string(out)
}

// eventually waits until ok, for changes that take a refresh.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

const point1 = "2026-11-22T22-00-05Z"

func TestAMountShowsMachinesPointsDisksAndConfiguration(t *testing.T) {
	v := newFakeVault()
	v.add("web", day, holey(1<<20+512, 1))
	v.add("web", day.Add(time.Hour), holey(1<<20, 2))
	v.add("mail", day, holey(1<<20, 3))
	m, _ := mount(t, v, Options{})
	got := sh(t, m, `cd $M; find . -name files -printf "%p\n" -prune -o -print | sort; readlink web/latest; cat web/latest/config/domain.xml; cat web/latest/point.json | head -3`)
	want := `.
./mail
./mail/2026-11-22T22-00-05Z
./mail/2026-11-22T22-00-05Z/config
./mail/2026-11-22T22-00-05Z/config/domain.xml
./mail/2026-11-22T22-00-05Z/disks
./mail/2026-11-22T22-00-05Z/disks/vda.raw
./mail/2026-11-22T22-00-05Z/files
./mail/2026-11-22T22-00-05Z/point.json
./mail/latest
./web
./web/2026-11-22T22-00-05Z
./web/2026-11-22T22-00-05Z/config
./web/2026-11-22T22-00-05Z/config/domain.xml
./web/2026-11-22T22-00-05Z/disks
./web/2026-11-22T22-00-05Z/disks/vda.raw
./web/2026-11-22T22-00-05Z/files
./web/2026-11-22T22-00-05Z/point.json
./web/2026-11-22T23-00-05Z
./web/2026-11-22T23-00-05Z/config
./web/2026-11-22T23-00-05Z/config/domain.xml
./web/2026-11-22T23-00-05Z/disks
./web/2026-11-22T23-00-05Z/disks/vda.raw
./web/2026-11-22T23-00-05Z/files
./web/2026-11-22T23-00-05Z/point.json
./web/latest
2026-11-22T23-00-05Z
<domain/>
{
  "id": "p0000000000000002",
  "machine": "0000000000000003",
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if n := v.opened.Load(); n != 0 {
		t.Errorf("looking around opened %d disks", n)
	}
}

func TestAttributesTellSizeHolesTimeAndThatOnlyTheOwnerMayRead(t *testing.T) {
	v := newFakeVault()
	d := holey(1<<20+512, 1)
	v.add("web", day, d)
	m, _ := mount(t, v, Options{})
	disk := filepath.Join(m, "web", point1, "disks/vda.raw")
	var st unix.Stat_t
	if err := unix.Stat(disk, &st); err != nil {
		t.Fatal(err)
	}
	if st.Size != d.Size() || st.Blocks*512 != d.allocated() || st.Mtim.Sec != day.Unix() || st.Uid != uint32(os.Geteuid()) {
		t.Errorf("stat says %+v", st)
	}
	got := sh(t, m, `stat -c %A $M $M/web $M/web/latest $M/web/latest/ $M/web/latest/disks/vda.raw $M/web/latest/point.json`)
	if want := "dr-x------\ndr-x------\nlrwxrwxrwx\ndr-x------\n-r--------\n-r--------\n"; got != want {
		t.Errorf("permissions %s, want %s", got, want)
	}
	if f := strings.Fields(sh(t, m, `df --output=source,fstype,size,avail -B1 $M | tail -1`)); f[0] != "holdfast:fake" || f[1] != "fuse.holdfast" || f[2] == "0" || f[3] != "0" {
		t.Errorf("df says %q", f)
	}
	if got := sh(t, m, `touch $M/x 2>&1 || true; grep " $M " /proc/mounts`); !strings.Contains(got, "Read-only") || !strings.Contains(got, "ro,nosuid,nodev,noexec") {
		t.Errorf("the mount is not read-only: %s", got)
	}
}

func TestAGroupGetsInAndNobodyElse(t *testing.T) {
	needs.Root(t)
	needs.Tools(t, "setpriv")
	v := newFakeVault()
	v.add("web", day, holey(1<<20, 1))
	open, _ := mount(t, v, Options{Group: 4242})
	os.Chmod(filepath.Dir(open), 0o755) // the test's own folders above the mount
	os.Chmod(filepath.Dir(filepath.Dir(open)), 0o755)
	as := "setpriv --reuid 65534 --clear-groups --regid "
	if got := sh(t, open, as+`4242 cat $M/web/latest/config/domain.xml; `+as+`65534 cat $M/web/latest/config/domain.xml 2>&1 || true; stat -c '%a %g' $M/web $M/web/latest/point.json`); !strings.HasPrefix(got, "<domain/>\n") ||
		!strings.Contains(got, "Permission denied") || !strings.HasSuffix(got, "550 4242\n440 4242\n") {
		t.Errorf("got %s", got)
	}
}

func TestInodeNumbersStayOverARemount(t *testing.T) {
	v := newFakeVault()
	v.add("web", day, holey(1<<20, 1))
	list := func() string {
		m, s := mount(t, v, Options{})
		out := sh(t, m, `cd $M; find . -printf '%i %p\n' | sort -k2`)
		if err := s.Unmount(); err != nil {
			t.Fatal(err)
		}
		return out
	}
	a, b := list(), list()
	if a != b || !strings.HasPrefix(a, "1 .\n") {
		t.Errorf("first\n%s\nthen\n%s", a, b)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(a) {
		if i, _, _ := strings.Cut(line, " "); seen[i] {
			t.Errorf("inode %s twice in\n%s", i, a)
		} else {
			seen[i] = true
		}
	}
}

func TestNewPointsAppearAndDroppedOnesVanishButOpenDisksReadOn(t *testing.T) {
	v := newFakeVault()
	d := holey(4<<20, 1)
	first := v.add("web", day, d)
	log := &lines{}
	o := quick()
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	m, _ := mount(t, v, o)
	folder := filepath.Join(m, "web", point1)
	f, err := os.Open(folder + "/disks/vda.raw")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	later := filepath.Join(m, "web", "2026-11-22T23-00-05Z")
	if exists(later) {
		t.Fatal("a point is there before it is made")
	}
	v.add("web", day.Add(time.Hour), holey(1<<20, 2))
	v.add("mail", day, holey(1<<20, 3))
	eventually(t, "the new point and machine appear", func() bool { return exists(later) && exists(filepath.Join(m, "mail")) })
	eventually(t, "latest moves", func() bool {
		to, _ := os.Readlink(filepath.Join(m, "web/latest"))
		return to == filepath.Base(later)
	})
	v.drop(first.ID)
	eventually(t, "the dropped point vanishes", func() bool { return !exists(folder) && !exists(folder+"/disks/vda.raw") })
	if names := sh(t, m, `ls $M/web`); strings.Contains(names, point1) {
		t.Errorf("it is listed still: %s", names)
	}
	got := make([]byte, d.Size())
	if n, err := f.ReadAt(got, 0); n != len(got) || !bytes.Equal(got, d.data) {
		t.Errorf("the open disk reads %d bytes, %v", n, err)
	}
	d.bad.Store(3 << 20)
	unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	if _, err := f.ReadAt(got[:block], 3<<20); !errors.Is(err, unix.ESTALE) || len(log.with("damaged")) > 0 {
		t.Errorf("what of a dropped point is gone for good reads with %v, logged %s", err, log.with("damaged"))
	}
	v.drop("p0000000000000003")
	eventually(t, "a machine without points vanishes", func() bool { return !exists(filepath.Join(m, "mail")) })
}

func TestPointsThatCannotBeListedForAWhileStay(t *testing.T) {
	v := newFakeVault()
	p := v.add("web", day, holey(1<<20, 1))
	v.add("web", day.Add(time.Hour), holey(1<<20, 2))
	log := &lines{}
	o := quick()
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	m, _ := mount(t, v, o)
	v.mu.Lock()
	v.err = os.ErrDeadlineExceeded
	v.mu.Unlock()
	v.drop(p.ID)
	eventually(t, "the failure is logged", func() bool { return len(log.with("cannot all be listed")) > 0 })
	time.Sleep(4 * o.Refresh)
	if !exists(filepath.Join(m, "web", point1)) {
		t.Error("a point is gone that may still be there")
	}
	if n := len(log.with("cannot all be listed")); n != 1 {
		t.Errorf("the same failure was logged %d times", n)
	}
}

func TestDescriptorsAndGoroutinesAreGivenBack(t *testing.T) {
	v := newFakeVault()
	v.add("web", day, holey(1<<20, 1))
	m, s := mount(t, v, quick()) // the first mount starts what stays: pollers, pools
	sh(t, m, `cat $M/web/latest/disks/vda.raw > /dev/null`)
	if err := s.Unmount(); err != nil {
		t.Fatal(err)
	}
	fds, routines := countFDs(t), countRoutines()
	for range 3 {
		m, s := mount(t, v, quick())
		sh(t, m, `cat $M/web/latest/disks/vda.raw $M/web/latest/point.json $M/web/latest/config/domain.xml > /dev/null; ls -lR $M > /dev/null`)
		if err := s.Unmount(); err != nil {
			t.Fatal(err)
		}
	}
	if n := countFDs(t); n > fds {
		t.Errorf("%d descriptors before, %d after", fds, n)
	}
	eventually(t, "as few goroutines as before", func() bool { return countRoutines() <= routines })
}
