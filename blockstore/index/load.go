package index

import (
	"errors"
	"fmt"
	"math"

	"github.com/dgraph-io/badger/v4"
)

// loadPending is how many transactions of a load are under way at once; each
// takes some 10 MiB.
const loadPending = 2

// Loader enters many packs at once, for an index that is made anew from
// segments. Entries that come in ascending order of ID make it several times
// as fast as [DB.AddPack] for each pack, since what Badger writes then never
// overlaps. It belongs to one goroutine; [Loader.Cancel] must be called once.
type Loader struct {
	x     *DB
	first uint32 // number of the first pack
	packs [][16]byte
	batch *badger.WriteBatch
}

// Load begins to enter packs that are sealed and durable. None of them is
// believed before [Loader.Finish]; who ends before it leaves nothing that
// counts.
func (x *DB) Load(packs [][16]byte) (*Loader, error) {
	if x.IsNone() {
		return &Loader{x: x}, nil
	}
	first, err := x.numbersFor(len(packs))
	if err != nil {
		return nil, fmt.Errorf("load packs into the index: %w", err)
	}
	l := &Loader{x, first, packs, x.db.NewWriteBatch()}
	l.batch.SetMaxPendingTxns(loadPending)
	return l, nil
}

// numbersFor reserves pack numbers that follow each other, durably.
func (x *DB) numbersFor(n int) (first uint32, err error) {
	x.numbering.Lock()
	defer x.numbering.Unlock()
	if uint64(x.free)+uint64(n) > math.MaxUint32 {
		return 0, errors.New("it has no pack number left: rebuild it")
	}
	first = x.free
	end := first + uint32(n)
	if end > x.reserved {
		err := x.db.Update(func(txn *badger.Txn) error {
			return txn.Set([]byte{numberKey}, le.AppendUint32(nil, end))
		})
		if err != nil {
			return 0, err
		}
		x.reserved = end
	}
	x.free = end
	return first, nil
}

// Add enters content that lies in a pack, given by its place in the list of
// packs. An ID that is added twice lies where it was added last.
func (l *Loader) Add(pack int, e Entry) error {
	if l.batch == nil {
		return nil
	}
	if err := l.batch.Set(entryKey(&e), entryValue(l.first+uint32(pack), &e)); err != nil {
		return fmt.Errorf("load packs into the index: %w", err)
	}
	return nil
}

// Finish makes the entries durable and then lets the packs count, whose numbers
// of records are given in the order of the packs.
func (l *Loader) Finish(records []uint32) error {
	if l.batch == nil {
		return nil
	}
	if err := l.batch.Flush(); err != nil {
		return fmt.Errorf("load packs into the index: %w", err)
	}
	l.batch = l.x.db.NewWriteBatch()
	for i, p := range l.packs {
		if err := l.batch.Set(append([]byte{packKey}, p[:]...), packValue(l.first+uint32(i), records[i])); err != nil {
			return fmt.Errorf("load packs into the index: %w", err)
		}
	}
	if err := l.batch.Flush(); err != nil {
		return fmt.Errorf("load packs into the index: %w", err)
	}
	l.x.mu.Lock()
	defer l.x.mu.Unlock()
	for i, p := range l.packs {
		l.x.enter(p, l.first+uint32(i), records[i])
	}
	return nil
}

// Cancel gives up what was not finished.
func (l *Loader) Cancel() {
	if l.batch != nil {
		l.batch.Cancel()
	}
}

func entryKey(e *Entry) []byte {
	key := make([]byte, 1, 1+len(e.ID))
	key[0] = blockKey
	return append(key, e.ID[:]...)
}

func entryValue(number uint32, e *Entry) []byte {
	value := make([]byte, 0, 12)
	value = le.AppendUint32(value, number)
	value = le.AppendUint32(value, e.Offset)
	return le.AppendUint32(value, e.Length)
}

func packValue(number, records uint32) []byte {
	return le.AppendUint32(le.AppendUint32(nil, number), records)
}
