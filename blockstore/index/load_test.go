package index

import (
	"testing"
)

func TestLoadedPacksCountOnlyWhenTheLoadIsFinished(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir)
	add(t, x, 1, entries(0, 10))
	load := func(finish bool, packs ...byte) {
		t.Helper()
		var ids [][16]byte
		for _, p := range packs {
			ids = append(ids, [16]byte{p})
		}
		l, err := x.Load(ids)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Cancel()
		records := make([]uint32, len(packs))
		for i, p := range packs {
			for _, e := range entries(int(p)*1000, 500) {
				if err := l.Add(i, e); err != nil {
					t.Fatal(err)
				}
				records[i]++
			}
		}
		if finish {
			if err := l.Finish(records); err != nil {
				t.Fatal(err)
			}
		}
	}
	load(false, 2, 3)
	want(t, x, 2001, 2, false)
	load(true, 4, 5, 6)
	add(t, x, 7, entries(100, 10)) // its number is nobody else's
	for range 2 {
		want(t, x, 5, 1, true)
		want(t, x, 2001, 2, false)
		want(t, x, 4499, 4, true)
		want(t, x, 6000, 6, true)
		want(t, x, 105, 7, true)
		if n := x.Packs(); len(n) != 5 || n[[16]byte{5}] != 500 {
			t.Errorf("packs %v", n)
		}
		closeDB(t, x)
		x = open(t, dir)
	}
	forget(t, x, 5)
	want(t, x, 5001, 5, false)
	load(true, 5)
	want(t, x, 5001, 5, true)
	closeDB(t, x)
}

func TestALoadIntoNoIndexDoesNothing(t *testing.T) {
	x := None()
	l, err := x.Load([][16]byte{{1}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Cancel()
	if err := l.Add(0, Entry{}); err != nil {
		t.Error(err)
	}
	if err := l.Finish([]uint32{1}); err != nil || len(x.Packs()) != 0 {
		t.Error(err)
	}
}
