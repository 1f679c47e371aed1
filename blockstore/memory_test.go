package blockstore

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestTheLargestWishForMemoryHolds(t *testing.T) { // not parallel: the limit is the process's
	was := debug.SetMemoryLimit(math.MaxInt64)
	defer debug.SetMemoryLimit(was)
	m := memoryLimit{}
	is := func(want int64) {
		t.Helper()
		if got := debug.SetMemoryLimit(-1); got != want {
			t.Errorf("the limit is %d, want %d", got, want)
		}
	}
	owner := m.wish(300 << 20)
	is(300 << 20)
	other := m.wish(200 << 20)
	is(300 << 20)
	sweep := m.wish(math.MaxInt64)
	is(math.MaxInt64)
	sweep()
	owner()
	is(200 << 20)
	other()
	is(math.MaxInt64)

	debug.SetMemoryLimit(1 << 30) // somebody's, who meant it
	m.wish(300 << 20)()
	is(1 << 30)
}
