package xfs

import (
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// Of these the live part of at least one goes on at the ring's beginning: what a
// kernel writes back, and when, is not the test's to say.
func TestALogThatGoesRoundItsEndIsReplayed(t *testing.T) {
	t.Parallel()
	needKernel(t)
	for n := 9060; n <= 9360; n += 60 {
		image := crashed(t, "-m reflink=0,bigtime=0 -i sparse=0", 5, n, logLost)
		w := writeLog(t, image)
		s, err := w.j.find()
		if err != nil {
			t.Fatal(err)
		}
		if s.tail.cycle == s.head.cycle {
			continue
		}
		treetest.SameLines(t, exact.Ours(t, treetest.OpenImage(t, Format, image, tree.Options{})), replayedByKernel(t, image))
		return
	}
	t.Log("none did this time")
}
