package blockstore

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/backend"
	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/keyring"
)

// Block sizes, in bytes. Others between the smallest and the largest are
// powers of two.
const (
	DefaultBlockSize = 64 << 10
	MinBlockSize     = 16 << 10
	MaxBlockSize     = 1 << 20
)

// CreateOptions of Create. The zero value works.
type CreateOptions struct {
	Name      string     // default: base name of the path
	BlockSize int        // bytes; 0: 64 KiB, or what Like has
	TrashDays int        // how long deleted points can be undeleted; 0: DefaultTrashDays
	Seal      []SealWith // ways to open a sealed vault; none: it is not sealed, unless Like is
	Unlock    *Unlocker  // opens Like
	Known     string     // as in Options
	Like      string     // path of a vault whose keys and block size to take, so that points copied between the two keep their IDs
}

// vaultRecord is the body of VAULT.
type vaultRecord struct {
	ID        VaultID        `json:"id"`
	Name      string         `json:"name"`
	Created   time.Time      `json:"created"`
	BlockSize int            `json:"block_size"`
	Codec     string         `json:"codec"`
	TrashDays int            `json:"trash_days,omitempty"` // 0: DefaultTrashDays
	Secret    content.Secret `json:"secret,omitzero"`      // of a vault that is not sealed
	Keys      []keyring.Key  `json:"keys,omitempty"`       // of a sealed one
}

func (r *vaultRecord) check() error {
	switch {
	case !hexID.MatchString(string(r.ID)):
		return fmt.Errorf("%w: vault id %.40q", errRecord, r.ID)
	case checkBlockSize(r.BlockSize) != nil:
		return fmt.Errorf("%w: %w", errRecord, checkBlockSize(r.BlockSize))
	case r.Codec != "lz4":
		return fmt.Errorf("vault with codec %.20q: %w", r.Codec, ErrVersion)
	}
	return nil
}

func checkBlockSize(n int) error {
	if n < MinBlockSize || n > MaxBlockSize || n&(n-1) != 0 {
		return fmt.Errorf("block size %d: it is a power of two from %d (16 KiB) to %d (1 MiB)", n, MinBlockSize, MaxBlockSize)
	}
	return nil
}

//go:embed README.txt
var readme string

// What README.txt ends with.
const (
	readmePlain = `This vault is not encrypted: who can read the folder can read the machines'
disks.
`
	readmeSealed = `This vault is encrypted: each command asks for its passphrase, or takes it from
--passphrase-file FILE, or takes the key of the recovery sheet, in a file of its
own, as --identity FILE. Without one of these nobody can read it, its makers
included.
`
)

// Create makes a new vault in a folder that is not there or is empty.
func Create(ctx context.Context, dir string, o CreateOptions) (VaultInfo, error) {
	head, err := newVaultRecord(ctx, dir, o)
	if err != nil {
		return VaultInfo{}, fmt.Errorf("create vault %s: %w", dir, err)
	}
	if err := makeEmpty(dir); err != nil {
		return VaultInfo{}, fmt.Errorf("create vault %s: %w", dir, err)
	}
	v := &Vault{dir: backend.NewDir(dir), head: head.vaultRecord, keys: content.Derive(head.secret), secret: head.secret, known: o.Known}
	if err := v.writeSkeleton(); err != nil {
		return VaultInfo{}, fmt.Errorf("create vault %s: %w", dir, err)
	}
	if err := v.makeKnown(); err != nil {
		return VaultInfo{}, fmt.Errorf("vault %s is there: %w", dir, err)
	}
	return v.Info(), nil
}

// freshVault is the record of a vault to be made, and its secret.
type freshVault struct {
	vaultRecord
	secret content.Secret
}

func newVaultRecord(ctx context.Context, dir string, o CreateOptions) (freshVault, error) {
	head := freshVault{vaultRecord{
		ID: VaultID(randomHex(8)), Name: o.Name, Created: time.Now().UTC().Truncate(time.Second),
		BlockSize: DefaultBlockSize, Codec: "lz4", TrashDays: o.TrashDays,
	}, content.NewSecret()}
	if head.Name == "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return head, err
		}
		head.Name = filepath.Base(abs)
	}
	if strings.ContainsFunc(head.Name, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(head.Name) > 255 {
		return head, fmt.Errorf("name %.40q: at most 255 bytes and no control characters", head.Name)
	}
	if o.TrashDays < 0 || o.TrashDays > MaxTrashDays {
		return head, fmt.Errorf("%d days in the trash: 1 to %d can be had", o.TrashDays, MaxTrashDays)
	}
	if o.Like != "" {
		like, err := Open(ctx, o.Like, Options{Unlock: o.Unlock})
		if err != nil {
			return head, err
		}
		defer like.Close()
		head.BlockSize, head.secret, head.Keys = like.head.BlockSize, like.secret, like.head.Keys
		if o.BlockSize != 0 && o.BlockSize != head.BlockSize {
			return head, fmt.Errorf("block size %d: vault %s has %d, and a vault like it has the same", o.BlockSize, o.Like, head.BlockSize)
		}
	}
	if o.BlockSize != 0 {
		head.BlockSize = o.BlockSize
	}
	if err := checkBlockSize(head.BlockSize); err != nil {
		return head, err
	}
	return head, head.seal(o)
}

// makeEmpty makes the folder, or finds it there and empty.
func makeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return os.MkdirAll(dir, 0o700)
	case err != nil:
		return err
	}
	for _, e := range entries {
		switch e.Name() {
		case "lost+found": // the root of a file system of its own
		case vaultDir:
			return fmt.Errorf("it is a vault already: %w", ErrExists)
		default:
			return fmt.Errorf("the folder is not empty: %w", ErrExists)
		}
	}
	return os.Chmod(dir, 0o700)
}

// writeSkeleton writes a new vault's files, VAULT last: it makes the folder a
// vault.
func (v *Vault) writeSkeleton() error {
	for _, d := range []string{packsDir, segmentsDir, pointsDir, attrsDir, damagedDir, machinesDir, policiesDir, writersDir, holdsDir} {
		if err := v.dir.MakeDir(d); err != nil {
			return err
		}
	}
	// The writer is named now, so that two processes that open a new vault at
	// once do not name two.
	if err := v.dir.MakeDir(path.Dir(ownerPath(WriterID(randomHex(8))))); err != nil {
		return err
	}
	end := readmePlain
	if v.isSealed() {
		end = readmeSealed
	}
	if err := v.dir.Write(readmeFile, []byte(readme+"\n"+end)); err != nil {
		return err
	}
	return v.writeRecord(vaultKind, path.Join(vaultDir, numbered(1, randomHex(4))), v.head)
}
