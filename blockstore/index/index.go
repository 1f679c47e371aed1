package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// Keys and values, all integers little-endian:
//
//	'b' ID                -> pack number u32, offset u32, length u32
//	'p' pack id           -> pack number u32, records u32
//	'n'                   -> u32: pack numbers below it may have been used; none is ever used twice
const (
	blockKey  = 'b'
	packKey   = 'p'
	numberKey = 'n'

	// numbersAhead is how many numbers are reserved at once.
	numbersAhead = 64
)

var le = binary.LittleEndian

// Entry is where the content of an ID lies.
type Entry struct {
	ID             content.ID
	Offset, Length uint32
}

// Place is an answer.
type Place struct {
	Pack           [16]byte
	Offset, Length uint32
}

// DB is an open index. It is safe for concurrent use.
type DB struct {
	db   *badger.DB
	said *said // what the database says

	mu      sync.RWMutex
	numbers map[[16]byte]uint32 // packs that are entered whole
	ids     map[uint32][16]byte // the same, turned around
	records map[[16]byte]uint32

	numbering sync.Mutex
	free      uint32 // guarded by numbering: the next number to give out
	reserved  uint32 // guarded by numbering: what the number key holds; at least free
}

// Logger gets what Badger has to say that someone should look at.
type Logger interface {
	Errorf(string, ...any)
	Warningf(string, ...any)
}

// Open opens the index in a folder, which is made when it is not there.
func Open(dir string, log Logger) (*DB, error) {
	if err := stamp(dir); err != nil {
		return nil, fmt.Errorf("open index %s: %w", dir, err)
	}
	if err := beginOpening(dir); err != nil {
		return nil, fmt.Errorf("open index %s: %w", dir, err)
	}
	x, err := openBadger(dir, log)
	return x, errors.Join(err, endOpening(dir))
}

func openBadger(dir string, log Logger) (*DB, error) {
	if err := checkTables(dir); err != nil {
		return nil, fmt.Errorf("open index %s: %w", dir, err)
	}
	hears := newSaid(log)
	o := badger.DefaultOptions(dir).
		WithLogger(hears).
		WithSyncWrites(true). // WAL errors come back; a pack's key is never durable before its entries
		WithDetectConflicts(false).
		WithNumVersionsToKeep(1).
		WithMetricsEnabled(false).
		WithCompactL0OnClose(true).
		WithCompression(options.None). // hashes do not compress
		WithMemTableSize(16 << 20).
		WithNumMemtables(2).
		WithNumCompactors(2).
		WithValueLogFileSize(16 << 20).
		WithBlockCacheSize(0).
		WithIndexCacheSize(32 << 20)
	db, err := badger.Open(o)
	// Whoever opens an index holds its vault. Another lock here was inherited by a process
	// that the last owner was just starting, and ends when that runs.
	for range 40 {
		if err == nil || !strings.Contains(err.Error(), "Cannot acquire directory lock") {
			break
		}
		time.Sleep(50 * time.Millisecond)
		db, err = badger.Open(o)
	}
	if err != nil {
		return nil, fmt.Errorf("open index %s: %w", dir, err)
	}
	x := &DB{db: db, said: hears, numbers: map[[16]byte]uint32{}, ids: map[uint32][16]byte{}, records: map[[16]byte]uint32{}}
	if err := x.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("read index %s: %w", dir, err), x.Close())
	}
	return x, nil
}

func (x *DB) load() error {
	return x.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get([]byte{numberKey})
		if err == nil {
			err = item.Value(func(v []byte) error {
				if len(v) != 4 {
					return fmt.Errorf("number of %d bytes", len(v))
				}
				x.free, x.reserved = le.Uint32(v), le.Uint32(v)
				return nil
			})
		}
		if err != nil && !errors.Is(err, badger.ErrKeyNotFound) {
			return err
		}
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{packKey}, PrefetchValues: true, PrefetchSize: 100})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			key := it.Item().KeyCopy(nil)
			if len(key) != 17 {
				return fmt.Errorf("pack key of %d bytes", len(key))
			}
			err := it.Item().Value(func(v []byte) error {
				if len(v) != 8 {
					return fmt.Errorf("pack value of %d bytes", len(v))
				}
				x.enter([16]byte(key[1:]), le.Uint32(v), le.Uint32(v[4:]))
				if number := le.Uint32(v); number >= x.free { // the key of numbers is lost
					x.free, x.reserved = number+1, number+1
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// enter notes a pack; what it was entered with before counts no more. The
// caller holds mu, or is alone.
func (x *DB) enter(pack [16]byte, number, records uint32) {
	if old, ok := x.numbers[pack]; ok {
		delete(x.ids, old)
	}
	x.numbers[pack] = number
	x.ids[number] = pack
	x.records[pack] = records
}

// Packs returns the packs that are entered whole, with their numbers of
// records.
func (x *DB) Packs() map[[16]byte]uint32 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	packs := make(map[[16]byte]uint32, len(x.records))
	for id, n := range x.records {
		packs[id] = n
	}
	return packs
}

// Get tells where the content of id lies, among the packs that are entered
// whole.
func (x *DB) Get(id content.ID) (p Place, ok bool, err error) {
	if x.IsNone() {
		return Place{}, false, nil
	}
	var key [33]byte
	key[0] = blockKey
	copy(key[1:], id[:])
	var number uint32
	err = x.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(key[:])
		if err != nil {
			return err
		}
		return item.Value(func(v []byte) error {
			if len(v) != 12 {
				return fmt.Errorf("value of %d bytes", len(v))
			}
			number, p.Offset, p.Length = le.Uint32(v), le.Uint32(v[4:]), le.Uint32(v[8:])
			return nil
		})
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return Place{}, false, nil
	}
	if err != nil {
		return Place{}, false, fmt.Errorf("look up %s in the index: %w", id.Short(), err)
	}
	x.mu.RLock()
	p.Pack, ok = x.ids[number]
	x.mu.RUnlock()
	return p, ok, nil
}

// AddPack enters a pack that is sealed and durable. When it returns, so are
// its entries here.
func (x *DB) AddPack(pack [16]byte, entries []Entry) error {
	if x.IsNone() {
		return nil
	}
	number, err := x.number()
	if err != nil {
		return fmt.Errorf("enter pack into the index: %w", err)
	}
	if err := x.write(number, entries); err != nil {
		return fmt.Errorf("enter pack into the index: %w", err)
	}
	err = x.db.Update(func(txn *badger.Txn) error {
		return txn.Set(append([]byte{packKey}, pack[:]...), packValue(number, uint32(len(entries))))
	})
	if err != nil {
		return fmt.Errorf("enter pack into the index: %w", err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.enter(pack, number, uint32(len(entries)))
	return nil
}

// number gives out a pack number. Those are reserved durably before they are
// used, many at once: entries of a pack that was not entered whole would
// otherwise be believed for the next one.
func (x *DB) number() (uint32, error) {
	x.numbering.Lock()
	defer x.numbering.Unlock()
	if x.free == x.reserved {
		if x.free > math.MaxUint32-numbersAhead {
			return 0, errors.New("it has no pack number left: rebuild it")
		}
		err := x.db.Update(func(txn *badger.Txn) error {
			return txn.Set([]byte{numberKey}, le.AppendUint32(nil, x.free+numbersAhead))
		})
		if err != nil {
			return 0, err
		}
		x.reserved = x.free + numbersAhead
	}
	x.free++
	return x.free - 1, nil
}

// write puts the entries of a pack.
func (x *DB) write(number uint32, entries []Entry) error {
	batch := x.db.NewWriteBatch()
	defer batch.Cancel()
	for i := range entries {
		if err := batch.Set(entryKey(&entries[i]), entryValue(number, &entries[i])); err != nil {
			return err
		}
	}
	return batch.Flush()
}

// ForgetPacks makes the index disbelieve its entries of packs, which are gone or
// about to go. They are not more than a few hundred.
func (x *DB) ForgetPacks(packs ...[16]byte) error {
	if x.IsNone() {
		return nil
	}
	err := x.db.Update(func(txn *badger.Txn) error {
		for _, pack := range packs {
			if err := txn.Delete(append([]byte{packKey}, pack[:]...)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("forget packs in the index: %w", err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, pack := range packs {
		if number, ok := x.numbers[pack]; ok {
			delete(x.ids, number)
		}
		delete(x.numbers, pack)
		delete(x.records, pack)
	}
	return nil
}
