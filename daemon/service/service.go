package service

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
	"github.com/holdfast-backup/holdfast/quiesce"
)

// Known is a vault that there is. Of one that was not opened yet the id or the name may be missing.
type Known struct {
	ID         blockstore.VaultID
	Name, Path string
	Unowned    error // why nothing can be written into it by who is to own it; nil: it can, or nobody tried yet
}

// Key names the vault in jobs: by its id or, where that is not known, its path.
func (k Known) Key() string {
	if k.ID == "" {
		return k.Path
	}
	return string(k.ID)
}

// Purpose is what an owner is needed for.
type Purpose int

// The purposes.
const (
	ToStore  Purpose = iota // points are made: there must be room
	ToForget                // points are deleted and removed, also in a vault that is full
	ToChange                // records are written
	ToNote                  // what a check found is noted, at once or not at all
)

// Vaults is how a service gets at vaults, of which each is named by its id, its name or its path. Its
// methods are called by many goroutines. There are two: [OneVault], and the one of the daemon, which holds
// its vaults open.
type Vaults interface {
	// List returns the vaults there are.
	List(ctx context.Context) ([]Known, error)

	// Find returns the vault that a text means. It touches no vault. An error is or wraps
	// blockstore.ErrNotVault.
	Find(ctx context.Context, vault string) (Known, error)

	// Read calls do with a vault that can be read until do returns, and returns its error, or why
	// the vault cannot be read.
	Read(ctx context.Context, vault string, do func(*blockstore.Vault) error) error

	// Lasting is Read for what may take as long as a client takes: do is given a context that ends soon after
	// somebody needs the vault alone, and returns then.
	Lasting(ctx context.Context, vault string, do func(context.Context, *blockstore.Vault) error) error

	// Own calls do with the owner of a vault, as which it may act until it returns, and returns its error,
	// or why the vault cannot be written to. What fails afterwards is a warning to whoever made the Vaults.
	Own(ctx context.Context, vault string, to Purpose, do func(*blockstore.Owner) error) error
}

// Options of New.
type Options struct {
	Vaults Vaults
	Jobs   *jobs.Table
	Tool   string // program and version, for the records
	Host   string // any text that stays the same on this host, see Timetable

	// StateDir is the folder of what this host remembers: when packs were read by checks, and the
	// journal of freezes. "": no guest is frozen, and a check of a part of a vault begins anew.
	StateDir string
	Guard    quiesce.Guard // of freezes

	// Patience is how long a vault may take to tell how it is, before what was known of it last
	// is told instead; 0: 30 s.
	Patience time.Duration
	// HostKnown is how long what the VMs of the host told for a status counts; 0: they are asked
	// each time.
	HostKnown time.Duration

	// Scratch is where what guests overwrite during a backup is kept that was not said where, and ReadDepth
	// how many reads of a disk are under way at once; the zero values: as usual.
	Scratch   api.Scratch
	ReadDepth int

	// RestoreFolders are those in which, or below which, who is not trusted may have points restored to.
	RestoreFolders []string

	// Stays tells that this is a service that lasts, of which people expect that it remembers: whatever keeps it from
	// writing to StateDir is told.
	Stays bool

	Log *slog.Logger // is told what a person should look at; nil: the default one
}

// Service is every operation, see [api.Operations]. Its methods are safe for concurrent use.
type Service struct {
	o       Options
	vaults  Vaults
	jobs    *jobs.Table
	journal func() (*quiesce.Journal, error) // nil journal: none
	keeping sync.Mutex                       // held while the list of ignored names is replaced

	files      files // of guests
	lastStatus keptStatus
	unkept     unkept

	host      chan struct{} // of capacity 1: who has put something into it may use hostFacts
	hostFacts *hostFacts    // nil: none were asked for yet
}

var (
	_ api.Reading = (*Service)(nil)
	_ api.Jobs    = (*Service)(nil)
)

// New returns a service. Whoever made the vaults and the table closes them.
func New(o Options) *Service {
	if o.Patience <= 0 {
		o.Patience = vaultPatience
	}
	s := &Service{o: o, vaults: o.Vaults, jobs: o.Jobs, host: make(chan struct{}, 1), files: newFiles(o.Log)}
	s.journal = sync.OnceValues(func() (*quiesce.Journal, error) {
		if o.StateDir == "" {
			return nil, nil
		}
		return quiesce.OpenJournal(Freezes(o.StateDir))
	})
	return s
}

// Freezes is the folder of the journal of freezes in a state folder.
func Freezes(stateDir string) string { return filepath.Join(stateDir, "freezes") }

// Interrupted is what is left of something that was ended before its time.
type Interrupted struct {
	Cause error  // nil or context.Canceled: a person stopped it
	State string // what it left behind
}

func (e *Interrupted) Error() string {
	if e.Cause == nil || e.Cause == context.Canceled {
		return "interrupted"
	}
	return e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Interrupted) Unwrap() error { return e.Cause }

// Damaged says that damage was found and is in the result.
type Damaged struct{ Text string }

func (e *Damaged) Error() string { return e.Text }

// ErrInUse is wrapped by the error of who needs a vault of the daemon that another one uses: nothing was
// done, and it may be asked for again.
var ErrInUse = fmt.Errorf("the vault is in use: %w", syscall.EBUSY)

// NotAllowed says that somebody may not do what was asked for.
type NotAllowed struct{ Text, Hint string }

func (e *NotAllowed) Error() string { return e.Text }

// Invalid is a request that cannot be obeyed, whoever asks.
type Invalid struct{ Text string }

func (e *Invalid) Error() string { return e.Text }

func invalidf(format string, args ...any) error { return &Invalid{fmt.Sprintf(format, args...)} }
