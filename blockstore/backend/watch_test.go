package backend

import (
	"errors"
	"os"
	"testing"
	"time"
)

func TestACallThatDoesNotReturnEndsAllWriting(t *testing.T) {
	d := NewDir(t.TempDir())
	if err := d.Write("before", []byte("x")); err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 2)
	d.Watch(40*time.Millisecond, func(err error) { told <- err })
	thaw := make(chan struct{})
	d.Ops.Sync = func(*os.File, string) error { <-thaw; return nil }
	ended := make(chan error)
	go func() { ended <- d.Write("held up", []byte("x")) }()
	<-d.Hung()
	var hang *HangError
	if err := <-told; !errors.As(err, &hang) || hang.Path != d.Root() {
		t.Errorf("it tells %v", err)
	}
	if err := d.Write("after", nil); !errors.As(err, &hang) {
		t.Errorf("a write after it: %v", err)
	}
	if err := d.Remove("before"); !errors.As(err, &hang) {
		t.Errorf("a removal after it: %v", err)
	}
	close(thaw)
	if err := <-ended; !errors.As(err, &hang) {
		t.Errorf("the write that hung: %v", err)
	}
	if names, err := d.List("."); err != nil || len(names) != 1 {
		t.Errorf("there is %v, %v; reading goes on and shows what was there", names, err)
	}
}

func TestCallsThatReturnAreNoHang(t *testing.T) {
	d := NewDir(t.TempDir())
	d.Watch(time.Minute, func(err error) { t.Error(err) })
	for range 100 {
		d.Call("read", "x")()
	}
	if err := d.HangError(); err != nil {
		t.Error(err)
	}
}

func TestACopyOfAFolderHasAnotherIdentity(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	i, m := Identity(a)
	j, n := Identity(b)
	if i == 0 || i == j && m == n {
		t.Errorf("%d %d and %d %d", i, m, j, n)
	}
	if i, _ := Identity(a + "/nothing"); i != 0 {
		t.Errorf("nothing has inode %d", i)
	}
}
