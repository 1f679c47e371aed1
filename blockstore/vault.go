package blockstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"github.com/holdfast-backup/holdfast/blockstore/backend"
	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
	"github.com/holdfast-backup/holdfast/blockstore/keyring"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// Options of Open. The zero value works.
type Options struct {
	BlockCache int64        // bytes of decoded blocks kept; 0: 64 MiB
	PageCache  int64        // bytes of decoded map pages kept; 0: 16 MiB
	Warn       func(string) // told about what someone should look at; may be nil
	Unlock     *Unlocker    // opens a sealed vault; may be nil
	Host       *Host        // that this process runs on; nil: found out

	// Known is the folder in which this host remembers which sealed vaults it
	// wrote at which paths; "": it does not. See [OtherVaultError].
	Known string

	// Patience is how long a call into the vault's file system may take; 0:
	// DefaultPatience, negative: for ever. Then Open and the methods of an Owner
	// fail with a *HangError, and Hung, which may be nil, is told once the
	// vault is open: other reads go on waiting.
	Patience time.Duration
	Hung     func(error)
}

// VaultInfo describes a vault.
type VaultInfo struct {
	ID        VaultID
	Name      string
	BlockSize int // bytes
	Codec     string
	Sealed    bool
	Created   time.Time
	Path      string
	TrashDays int // how long deleted points can be undeleted
}

// Vault is a vault opened for reading, which needs neither lock nor index and
// sees what other processes commit meanwhile. All methods are safe for
// concurrent use.
type Vault struct {
	dir *backend.Dir
	// local is set when the vault's file system is one of this host: its files
	// can be mapped then.
	local bool
	head  vaultRecord
	raw   []byte // the record of head as it lies in its file, for headers of packs
	name  string // of that file
	// fromPack is set when VAULT is lost or damaged.
	fromPack bool
	keys     *content.Keys
	warn     func(string)
	host     Host
	known    string // as Options.Known

	keepsFree func(total int64) int64 // of an owner: what stays free of a file system; nil: as usual

	secret  content.Secret // master secret
	unlock  *Unlocker      // what a sealed vault is opened with
	openers *lru.Cache[pack.ID, *pack.Opener]

	files    *packFiles
	pages    *lru.Cache[ID, *diskmap.Page]
	blocks   *lru.Cache[ID, []byte]
	decoding singleflight.Group // of blocks for the cache
	asked    asked              // blocks that are not cached yet
	parts    sync.Pool          // of *[]byte, a block long, for decoding what is not cached

	// tables is replaced, never changed: readers take it without a lock.
	tables   atomic.Pointer[tableSet]
	verified sync.Map // names of tables that were read whole; value: whether they are damaged
	// refreshing is held while tables is made anew.
	refreshing sync.Mutex

	points pointCache

	closing closing

	// onDamage is told of a record that was read twice and is damaged; nil but
	// in an owner. Set before anyone else has the vault.
	onDamage func(place, content.Kind, ID, error)
}

// Open opens a vault for reading.
func Open(ctx context.Context, dir string, o Options) (*Vault, error) {
	v := &Vault{dir: backend.NewDir(dir), warn: o.Warn, files: newPackFiles(), unlock: o.Unlock, known: o.Known}
	if v.warn == nil {
		v.warn = func(string) {}
	}
	if o.Host == nil {
		h := thisHost()
		o.Host = &h
	}
	v.host = *o.Host
	v.dir.Watch(patience(o.Patience), nil)
	if err := unlessHung(ctx, v.dir, func(ctx context.Context) error { return v.open(ctx, o) }); err != nil {
		return nil, fmt.Errorf("open vault %s: %w", dir, err)
	}
	v.dir.Watch(patience(o.Patience), o.Hung) // until here the error told
	return v, nil
}

func (v *Vault) open(ctx context.Context, o Options) error {
	done := v.dir.Call("ask for the kind of", ".")
	v.local = v.dir.Local()
	done()
	if err := v.readVault(); err != nil {
		return err
	}
	if err := v.makeCaches(o); err != nil {
		return err
	}
	v.tables.Store(&tableSet{})
	return v.refresh(ctx)
}

func (v *Vault) makeCaches(o Options) (err error) {
	if o.BlockCache == 0 {
		o.BlockCache = 64 << 20
	}
	if o.PageCache == 0 {
		o.PageCache = 16 << 20
	}
	if v.blocks, err = lru.New[ID, []byte](int(max(4, o.BlockCache/int64(v.head.BlockSize)))); err != nil {
		return err
	}
	v.parts.New = func() any { b := make([]byte, v.head.BlockSize); return &b }
	if v.openers, err = lru.New[pack.ID, *pack.Opener](2 * maxOpenPacks); err != nil {
		return err
	}
	v.pages, err = lru.New[ID, *diskmap.Page](int(max(16, o.PageCache/diskmap.MaxPage)))
	return err
}

// readVault finds the newest record of VAULT that authenticates, and falls
// back to the copies in the headers of packs.
func (v *Vault) readVault() error {
	names, err := v.dir.List(vaultDir)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range slices.Backward(names) {
		p := path.Join(vaultDir, name)
		b, err := v.dir.ReadFile(p, maxRecord)
		if err == nil {
			err = v.adopt(p, b)
		}
		if err == nil {
			return nil
		}
		if errors.Is(err, ErrVersion) || errors.Is(err, ErrNotSealed) || errors.Is(err, ErrNoKey) || errors.Is(err, ErrWrongKey) {
			return err // it is whole: a later version made it, or it stays closed
		}
		errs = append(errs, err)
	}
	err = v.readVaultFromPacks()
	if err == nil {
		v.fromPack = true
		v.warn(fmt.Sprintf("VAULT of %s is lost or damaged; opened with the copy in a pack's header", v.dir.Root()))
		return nil
	}
	if errors.Is(err, ErrNoKey) || errors.Is(err, ErrWrongKey) {
		return fmt.Errorf("VAULT is lost or damaged, and its copies in packs know the keys of when those were written: %w", err)
	}
	if len(errs) == 0 {
		return fmt.Errorf("%w: no VAULT in it, nor a pack with a copy of that", ErrNotVault)
	}
	return errors.Join(errs...)
}

// adopt takes a record of VAULT, authenticated by the secret that it holds
// itself.
func (v *Vault) adopt(name string, b []byte) error {
	_, body, _, err := splitRecord(b, vaultKind)
	if err != nil && !errors.Is(err, ErrVersion) {
		return fmt.Errorf("read %s: %w", name, err)
	}
	var claimed struct {
		Secret content.Secret `json:"secret"`
		Keys   []keyring.Key  `json:"keys"`
	}
	if err := json.Unmarshal(body, &claimed); err != nil {
		return fmt.Errorf("read %s: %w: %v", name, errRecord, err)
	}
	if len(claimed.Keys) == 0 && claimed.Secret == (content.Secret{}) || keyring.Damaged(claimed.Keys) {
		return fmt.Errorf("read %s: %w: its keys are not what was written", name, errRecord)
	}
	if len(claimed.Keys) == 0 && v.unlock.Given() {
		return fmt.Errorf("read %s: %w", name, ErrNotSealed)
	}
	if len(claimed.Keys) > 0 {
		if claimed.Secret, err = v.unlock.Unlock(claimed.Keys); err != nil {
			return err
		}
	}
	var head vaultRecord
	keys := content.Derive(claimed.Secret)
	if err := decodeRecord(keys, vaultKind, name, b, &head); err != nil {
		return err
	}
	if err := head.check(); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	v.secret = claimed.Secret
	v.head, v.raw, v.name, v.keys = head, b, name, keys
	return nil
}

// maxHeaders is how many different copies of VAULT in headers of packs are
// tried: a passphrase takes a second each.
const maxHeaders = 8

// readVaultFromPacks takes the newest copy of VAULT in a pack's header that
// authenticates. It may be older than the vault's id, which OWNER tells.
func (v *Vault) readVaultFromPacks() error {
	var newest uint64
	var keyErr error
	found := false
	tried := map[string]bool{} // by content
	err := v.eachPack(v.dir.List, func(w WriterID, id pack.ID) error {
		f, err := v.dir.Open(packPath(w, id))
		if err != nil {
			return nil
		}
		defer f.Close()
		h, err := pack.ReadHeader(f)
		if err != nil || tried[string(h.Vault)] || len(tried) > maxHeaders {
			return nil
		}
		tried[string(h.Vault)] = true
		generation, _, _ := parseNumbered(path.Base(h.VaultName))
		if found && generation <= newest {
			return nil
		}
		err = v.adopt(h.VaultName, h.Vault)
		if err == nil {
			newest, found = generation, true
		} else if errors.Is(err, ErrNoKey) || errors.Is(err, ErrWrongKey) {
			keyErr = err
		}
		return nil
	})
	if !found {
		return cmp.Or(keyErr, errors.Join(ErrNotVault, err))
	}
	v.adoptID()
	return nil
}

// adoptID takes the vault's id from OWNER, which is as new as the last owner.
func (v *Vault) adoptID() {
	w, err := v.onlyWriter()
	if err != nil || w == "" {
		return
	}
	if o, err := v.lookAtOwner(w); err == nil && hexID.MatchString(string(o.Vault)) {
		v.head.ID = o.Vault
	}
}

// Info describes the vault.
func (v *Vault) Info() VaultInfo {
	return VaultInfo{ID: v.head.ID, Name: v.head.Name, BlockSize: v.head.BlockSize, Codec: v.head.Codec, Sealed: v.isSealed(),
		Created: v.head.Created, Path: v.dir.Root(), TrashDays: v.trashDays()}
}

// Close closes the vault's files. Reads must have ended.
func (v *Vault) Close() error {
	v.closing.close()
	v.files.close()
	v.tables.Store(&tableSet{})
	return nil
}
