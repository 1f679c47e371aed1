package restore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func toStream(d Disk, w io.Writer) []Job { return []Job{{d, Spec{Kind: Stream, Writer: w}}} }

func TestAStreamGetsTheDiskInOrder(t *testing.T) {
	t.Parallel()
	for i, c := range oddSizes {
		d := randomDisk("vda", c.size, c.block, uint64(i))
		for _, workers := range []int{1, 2, 7} {
			out := new(bytes.Buffer)
			var n atomic.Int64
			d.onRead = func(off int64) { // the first reads are the slowest
				if n.Add(1) < 4 {
					time.Sleep(time.Millisecond)
				}
			}
			progress, whole := steady(t)
			res, err := Run(t.Context(), toStream(d, out), Options{Workers: workers, Verify: true, Progress: progress})
			if err != nil || !res.Disks[0].Done {
				t.Fatal(err, res)
			}
			whole()
			if !bytes.Equal(out.Bytes(), d.bytes()) {
				t.Fatalf("%d bytes in blocks of %d, %d workers: the stream differs", c.size, c.block, workers)
			}
			if res.Disks[0].Verified || !strings.Contains(res.Disks[0].Notes[0], "cannot be read back") {
				t.Errorf("result claims %+v", res.Disks[0])
			}
		}
	}
}

// failing is a pipe that breaks after some bytes.
type failing struct{ left int }

var errBroken = errors.New("broken pipe")

func (f *failing) Write(p []byte) (int, error) {
	if len(p) > f.left {
		return f.left, errBroken
	}
	f.left -= len(p)
	return len(p), nil
}

func TestAStreamThatBreaksEndsTheRestore(t *testing.T) {
	t.Parallel()
	d := randomDisk("vda", 24<<20, 65536, 3)
	for _, left := range []int{0, 1 << 20, 10<<20 + 1} {
		res, err := Run(t.Context(), toStream(d, &failing{left}), Options{})
		if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "standard output") || res.Disks[0].Done {
			t.Errorf("error is %v, result %+v", err, res)
		}
	}
}

func TestACancelledStreamEndsThoughNobodyReadsIt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	d := randomDisk("vda", 24<<20, 65536, 3)
	var reads atomic.Int32
	d.onRead = func(int64) {
		if reads.Add(1) == 3 {
			cancel()
		}
	}
	if _, err := Run(ctx, toStream(d, w), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestAStreamReadsAheadWithBoundedMemory(t *testing.T) {
	t.Parallel()
	const workers = 3
	d := newDisk("vda", 64<<20, 1<<20)
	for n := range int64(64) {
		d.blocks[n] = bytes.Repeat([]byte{byte(n) + 1}, 1<<20)
	}
	var read, written, most atomic.Int64
	d.onRead = func(int64) {
		ahead := read.Add(1) - written.Load()
		for old := most.Load(); ahead > old && !most.CompareAndSwap(old, ahead); old = most.Load() {
		}
	}
	w := writer(func(p []byte) (int, error) {
		written.Add(1)
		time.Sleep(100 * time.Microsecond)
		return len(p), nil
	})
	if _, err := Run(t.Context(), toStream(d, w), Options{Workers: workers}); err != nil {
		t.Fatal(err)
	}
	if n := most.Load(); n > 2*workers+1 {
		t.Errorf("%d windows were read ahead of the writer", n)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestFilesAreWholeBeforeAStreamBegins(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	d := randomDisk("vda", 3<<20, 65536, 3)
	early := false
	jobs := append(toStream(d, writer(func(p []byte) (int, error) {
		early = early || len(names(t, folder)) != 1
		return len(p), nil
	})), toFile(d, Raw, filepath.Join(folder, "x"))...)
	if _, err := Run(t.Context(), jobs, Options{}); err != nil || early {
		t.Error(err, early)
	}
	sameFile(t, filepath.Join(folder, "x"), d.bytes())
	if _, err := Run(t.Context(), append(toStream(d, io.Discard), toStream(d, io.Discard)...), Options{}); err == nil {
		t.Error("two disks go to one stream")
	}
}
