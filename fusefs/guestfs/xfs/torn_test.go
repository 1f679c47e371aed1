package xfs

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// lastRecords are the records at the head of a dirty log, the youngest last.
func lastRecords(t testing.TB, w *logWriter, n int) []record {
	t.Helper()
	s, err := w.j.find()
	if err != nil {
		t.Fatal(err)
	}
	var all []record
	for r := s.tail; ; {
		all = append(all, r)
		if r.lsn == s.head.lsn {
			break
		}
		next, ok, err := w.j.head(r.sector + r.end())
		if !ok || err != nil {
			t.Fatal("the chain ends", err)
		}
		r = next
	}
	if len(all) < n+2 {
		t.Fatalf("the log has %d records, too few to tear some", len(all))
	}
	return all[len(all)-n:]
}

// unwrite makes sectors of a log what they were a round before, as when they were
// on their way to the disk at a crash.
func (w *logWriter) unwrite(r record, from, n int64) {
	for i := from; i < from+n; i++ {
		b := make([]byte, sectorSize)
		be.PutUint32(b, r.cycle-1)
		if _, err := w.f.WriteAt(b, w.j.at+(r.sector+i)%w.j.sectors*sectorSize); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestALogThatWasTornAtItsHeadIsReplayedUpToWhereItIsWhole(t *testing.T) {
	t.Parallel()
	needKernel(t)
	whole := crashed(t, "", 42, 600, logForced)
	for name, tear := range map[string]func(w *logWriter, last []record){
		"the end of the last record is missing": func(w *logWriter, last []record) { w.unwrite(last[2], 2, last[2].end()-2) },
		"all of the last record is missing":     func(w *logWriter, last []record) { w.unwrite(last[2], 0, last[2].end()) },
		"one before the last is missing":        func(w *logWriter, last []record) { w.unwrite(last[1], 0, last[1].end()) },
		"a bit of the last record is wrong": func(w *logWriter, last []record) {
			b := make([]byte, 1)
			at := w.j.at + last[2].sector*sectorSize + 700
			w.f.ReadAt(b, at)
			b[0] ^= 4
			w.f.WriteAt(b, at)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			image := treetest.Copy(t, whole, filepath.Join(treetest.Scratch(t), "torn.img"))
			w := writeLog(t, image)
			tear(w, lastRecords(t, w, 3))
			v := treetest.OpenImage(t, Format, image, tree.Options{})
			if i := v.Info(); i.Journal != tree.Replayed {
				t.Errorf("the volume says %+v", i)
			}
			treetest.SameLines(t, exact.Ours(t, v), replayedByKernel(t, image))
		})
	}
}

func TestALogThatIsDamagedWithinIsNotReplayedAndSaysSo(t *testing.T) {
	t.Parallel()
	needKernel(t)
	image := crashed(t, "", 43, 3000, logForced)
	w := writeLog(t, image)
	s, err := w.j.find()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("garbage"), w.j.at+(s.tail.sector+1)%w.j.sectors*sectorSize+300); err != nil {
		t.Fatal(err)
	}
	v := treetest.OpenImage(t, Format, image, tree.Options{})
	if i := v.Info(); i.Journal != tree.NotReplayed || len(i.Notes) != 1 {
		t.Errorf("the volume says %+v", i)
	} else {
		t.Log(i.Notes[0])
	}
}

func TestALogThatDoesNotFitIntoMemoryIsNotReplayed(t *testing.T) {
	t.Parallel()
	needKernel(t)
	image := crashed(t, "", 44, 2500, logForced)
	r, size := treetest.Image(t, image)
	for _, memory := range []int64{1 << 20, 64 << 20} {
		v, err := Format.Open(r, size, tree.Options{Memory: memory})
		if err != nil {
			t.Fatal(err)
		}
		i := v.Info()
		t.Log(memory>>20, i.Journal, i.Notes)
		if (i.Journal == tree.Replayed) != (memory > 1<<20) {
			t.Errorf("with %d bytes the log is %s", memory, fmt.Sprint(i))
		}
	}
}
