package power

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAFlushIsLoggedAfterEveryWriteThatWasAnsweredBeforeItWasAskedFor is what Log.Cut
// stands on: writers and flushers at once, past the page cache, on the loop device
// of a disk that takes and answers requests late.
func TestAFlushIsLoggedAfterEveryWriteThatWasAnsweredBeforeItWasAskedFor(t *testing.T) {
	need(t, "fusermount3", "losetup")
	folder := scratch(t)
	image, log := filepath.Join(folder, "image"), filepath.Join(folder, "log")
	if err := os.WriteFile(image, make([]byte, 64*unit), 0o600); err != nil {
		t.Fatal(err)
	}
	disk, stop := serve(t, folder, image, log, 2*time.Millisecond)
	loop := strings.TrimSpace(tool(t, "losetup", "--find", "--show", disk))
	flushed := hammer(t, loop, log)
	tool(t, "losetup", "-d", loop)
	waitUntilDetached(t, loop, disk)
	stop()
	l, err := OpenLog(log)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if len(flushed) == 0 || l.Flushes() < 10 { // the kernel makes one of several that wait
		t.Fatalf("%d flushes were answered, %d logged", len(flushed), l.Flushes())
	}
	for _, f := range flushed {
		state := l.until(t, f.logged)
		for place, version := range f.written {
			if state[place] < version {
				t.Fatalf("place %d: the flush that ended at %d of the log promised write %d, there is %d", place, f.logged, version, state[place])
			}
		}
	}
}

// flush is one that was answered.
type flush struct {
	written map[int64]uint64 // place on the disk -> the write there that was answered before it was asked for
	logged  int64            // size of the log once it was answered
}

// hammer writes counting numbers to places of a disk, and flushes it.
func hammer(t *testing.T, device, log string) (flushed []flush) {
	f, err := os.OpenFile(device, os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var mu sync.Mutex
	written := map[int64]uint64{}
	var wg sync.WaitGroup
	for w := range int64(8) {
		wg.Go(func() {
			b, err := unix.Mmap(-1, 0, unit, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // aligned
			if err != nil {
				t.Error(err)
				return
			}
			defer unix.Munmap(b)
			for n := uint64(1); n <= 150; n++ {
				place := w*8 + int64(n%3)
				binary.LittleEndian.PutUint64(b, n)
				if _, err := f.WriteAt(b, place*unit); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				written[place] = n
				mu.Unlock()
			}
		})
	}
	for range 4 {
		wg.Go(func() {
			for range 40 {
				one := flush{written: map[int64]uint64{}}
				mu.Lock()
				for place, n := range written {
					one.written[place] = n
				}
				mu.Unlock()
				if err := f.Sync(); err != nil {
					t.Error(err)
					return
				}
				st, err := os.Stat(log)
				if err != nil {
					t.Error(err)
					return
				}
				one.logged = st.Size()
				mu.Lock()
				flushed = append(flushed, one)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return flushed
}

// until returns what is at each place after the last flush within the first size bytes.
func (l *Log) until(t *testing.T, size int64) map[int64]uint64 {
	t.Helper()
	state, last := map[int64]uint64{}, -1
	for i, e := range l.entries {
		if e.end <= size && e.off == flushMark {
			last = i
		}
	}
	for _, e := range l.entries[:last+1] {
		if e.off == flushMark {
			continue
		}
		b, err := l.data(e)
		if err != nil {
			t.Fatal(err)
		}
		state[e.off/unit] = binary.LittleEndian.Uint64(b)
	}
	return state
}
