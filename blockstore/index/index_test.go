package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

func open(t *testing.T, dir string) *DB {
	t.Helper()
	x, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func closeDB(t *testing.T, x *DB) {
	t.Helper()
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
}

func id(n int) (id content.ID) {
	binary.BigEndian.PutUint32(id[:], uint32(n)*2654435761)
	return id
}

func entries(from, n int) []Entry {
	list := make([]Entry, n)
	for i := range list {
		list[i] = Entry{id(from + i), uint32(from + i), 77}
	}
	return list
}

func want(t *testing.T, x *DB, n int, pack byte, known bool) {
	t.Helper()
	p, ok, err := x.Get(id(n))
	if err != nil || ok != known || known && (p != Place{[16]byte{pack}, uint32(n), 77}) {
		t.Errorf("content %d: %v, %v, %v; want pack %d, %v", n, p, ok, err, pack, known)
	}
}

func add(t *testing.T, x *DB, pack byte, list []Entry) {
	t.Helper()
	if err := x.AddPack([16]byte{pack}, list); err != nil {
		t.Fatal(err)
	}
}

func forget(t *testing.T, x *DB, pack byte) {
	t.Helper()
	if err := x.ForgetPacks([16]byte{pack}); err != nil {
		t.Fatal(err)
	}
}

func TestWhatWasEnteredIsThereAfterReopeningAndWhatWasForgottenIsNot(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir)
	add(t, x, 1, entries(0, 1000))
	add(t, x, 2, entries(1000, 1000))
	add(t, x, 3, nil)
	forget(t, x, 1)
	forget(t, x, 9) // never entered: hides nothing
	for range 2 {
		want(t, x, 5, 1, false)
		want(t, x, 1005, 2, true)
		want(t, x, 2005, 0, false)
		if got := fmt.Sprint(x.Packs()); got != fmt.Sprint(map[[16]byte]uint32{{2}: 1000, {3}: 0}) {
			t.Errorf("packs %s", got)
		}
		closeDB(t, x)
		x = open(t, dir)
	}
	add(t, x, 4, entries(0, 10)) // its number is not that of pack 1
	want(t, x, 5, 4, true)
	want(t, x, 500, 1, false)
	closeDB(t, x)
}

func TestAPackEnteredAgainCountsAsItWasEnteredLast(t *testing.T) {
	x := open(t, t.TempDir())
	defer closeDB(t, x)
	add(t, x, 1, entries(0, 10))
	add(t, x, 1, entries(5, 10))
	want(t, x, 2, 1, false)
	want(t, x, 7, 1, true)
	want(t, x, 12, 1, true)
	forget(t, x, 1)
	want(t, x, 2, 1, false)
	want(t, x, 12, 1, false)
}

// An owner that dies between the entries of a pack and the pack's key leaves
// entries with a number; what they say must never come true of another pack.
func TestEntriesOfAPackThatWasNotEnteredWholeAreNeverBelieved(t *testing.T) {
	dir := t.TempDir()
	for round := range 4 {
		x := open(t, dir)
		n, err := x.number()
		if err != nil {
			t.Fatal(err)
		}
		if err := x.write(n, entries(round*100, 50)); err != nil {
			t.Fatal(err)
		}
		closeDB(t, x)
		x = open(t, dir)
		add(t, x, byte(100+round), entries(10_000+round*100, 5))
		for i := range 50 {
			want(t, x, round*100+i, 0, false)
		}
		closeDB(t, x)
	}
}

func TestNumbersAreNeverUsedTwice(t *testing.T) {
	dir := t.TempDir()
	used := map[uint32]bool{}
	for range 4 {
		x := open(t, dir)
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range numbersAhead {
					n, err := x.number()
					mu.Lock()
					if err != nil || used[n] {
						t.Errorf("number %d, used before: %v, %v", n, used[n], err)
					}
					used[n] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		closeDB(t, x)
	}
}

func TestTheIndexAgreesWithAMapThroughRandomWork(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 3))
	dir := t.TempDir()
	x := open(t, dir)
	last := map[content.ID][16]byte{} // the pack that an ID was entered for last
	there := map[[16]byte]bool{}
	for range 60 {
		switch r.IntN(6) {
		case 0:
			closeDB(t, x)
			x = open(t, dir)
		case 1:
			for p := range there {
				if err := x.ForgetPacks(p); err != nil {
					t.Fatal(err)
				}
				delete(there, p)
				break
			}
		default:
			p := [16]byte{0: byte(r.Uint32()), 1: byte(r.Uint32()), 2: 1}
			if there[p] {
				continue
			}
			list := entries(r.IntN(500), r.IntN(200))
			if err := x.AddPack(p, list); err != nil {
				t.Fatal(err)
			}
			there[p] = true
			for _, e := range list {
				last[e.ID] = p
			}
		}
		for range 50 {
			id := id(r.IntN(700))
			p, ok, err := x.Get(id)
			if err != nil || ok != there[last[id]] || ok && p.Pack != last[id] {
				t.Fatalf("%s: %v, %v, %v; want %v", id.Short(), p, ok, err, last[id])
			}
		}
	}
	closeDB(t, x)
}

func TestAnIndexThatHoldsNonsenseIsRefusedAndNotBelieved(t *testing.T) {
	for name, kv := range map[string][2]string{
		"a short number":     {"n", "12"},
		"a short pack key":   {"p1234", "12345678"},
		"a short pack value": {"p1234567890123456", "1"},
	} {
		dir := t.TempDir()
		x := open(t, dir)
		if err := x.db.Update(func(txn *badger.Txn) error { return txn.Set([]byte(kv[0]), []byte(kv[1])) }); err != nil {
			t.Fatal(err)
		}
		closeDB(t, x)
		if x, err := Open(dir, nil); err == nil {
			t.Errorf("%s: opened", name)
			closeDB(t, x)
		}
	}
}

// Badger would write where a link leads.
func TestAnIndexWithALinkInItIsMadeAnew(t *testing.T) {
	dir := t.TempDir()
	x, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(t.TempDir(), "elsewhere"), filepath.Join(dir, openingFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, nil); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}
