package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/config"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/quiesce"
)

// Options of Run.
type Options struct {
	Config  func() (config.Config, error) // reads the configuration, again whenever it is to be reloaded
	Reload  <-chan struct{}               // asks for that
	Log     io.Writer                     // where it is told what happens
	Version api.Version                   // of the program
	Tool    string                        // program and version, for records
	Host    string                        // any text that stays the same on this host
	Guard   quiesce.Guard                 // of freezes
	Getenv  func(string) string

	// Successor asks the program that is installed now, which may be another than this process
	// runs, whether it would start; nil: it would. It is called before this daemon ends to be started again.
	Successor func(ctx context.Context) error

	// Secrets is called before a key of a vault is read, to keep this process's memory from others;
	// nil: nothing is done.
	Secrets func() error
}

// Daemon is a daemon that runs.
type Daemon struct {
	o       Options
	log     *slog.Logger
	level   *slog.LevelVar
	systemd systemd
	current atomic.Pointer[config.Config]
	budget  *blockstore.Budget

	vaults    *vaults
	jobs      *jobs.Table
	service   *service.Service
	scheduler *scheduler
	overview  *Overview
	mounts    mounts
	found     found

	beat atomic.Int64 // when the scheduler's loop turned last, in nanoseconds since start
	born time.Time

	announcing sync.Mutex // one announces at a time
	announced  map[*heldVault]service.Announced
}

func (d *Daemon) conf() *config.Config { return d.current.Load() }

// Run is a daemon from its start to its end, which comes after ctx has ended: what runs is given
// as long as the configuration says, then cancelled, and everything that this process holds is let go.
// One that is asked to end before it has begun just ends. An error is why it could not begin, or what
// it could not let go.
func Run(ctx context.Context, o Options) (err error) {
	conf, err := o.Config()
	if err != nil {
		return err
	}
	d := &Daemon{o: o, level: new(slog.LevelVar), systemd: systemdOf(o.Getenv), budget: blockstore.NewBudget(conf.Memory.Bytes()), born: time.Now(),
		announced: map[*heldVault]service.Announced{}}
	d.log = newLogger(o.Log, conf.Log, d.level)
	d.current.Store(&conf)
	if err := errors.Join(makeFolder(conf.State, 0o700), makeFolder(conf.Run, 0o755)); err != nil {
		return err
	}
	release, err := d.alone(ctx, conf.Run)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	defer release()
	if conf.Sealed() && o.Secrets != nil {
		if err := o.Secrets(); err != nil {
			return fmt.Errorf("keep this process's memory from others: %w", err)
		}
	}
	unfinished, err := d.openJobs(conf)
	if err != nil {
		return err
	}
	if err := d.assemble(conf); err != nil {
		return errors.Join(err, d.jobs.Close(context.WithoutCancel(ctx)))
	}
	return d.live(ctx, unfinished)
}

// lastEnds is how long a daemon that is just ending is waited for.
const lastEnds = 3 * time.Second

// alone makes this process the only daemon of its folder.
func (d *Daemon) alone(ctx context.Context, run string) (release func() error, err error) {
	ctx, cancel := context.WithTimeout(ctx, lastEnds)
	defer cancel()
	release, err = service.Live(ctx, run)
	if errors.Is(err, service.ErrAlive) {
		err = fmt.Errorf("%w: end it first, or give this one another folder (`run` of its configuration)", err)
	}
	return release, err
}

func makeFolder(path string, mode os.FileMode) error {
	if err := os.MkdirAll(path, mode); err != nil {
		return fmt.Errorf("make the folder %s: %w", path, err)
	}
	return nil
}

// openJobs opens the table of jobs, and returns those that the end of the process before cut short.
func (d *Daemon) openJobs(conf config.Config) (unfinished []api.Job, err error) {
	dir := filepath.Join(conf.State, "jobs")
	before, _, err := jobs.Look(dir, api.JobQuery{State: api.JobInterrupted, Limit: 10_000})
	if err != nil {
		return nil, err
	}
	for _, j := range before {
		if j.Ended == nil {
			unfinished = append(unfinished, j)
		}
	}
	d.jobs, err = jobs.Open(jobs.Options{Dir: dir, Running: conf.Jobs.AtOnce, Age: conf.Jobs.History.Duration(), Count: conf.Jobs.HistoryMost,
		Explain: service.Explain, Changed: d.jobChanged, Warn: func(text string) { d.log.Warn(text) }})
	return unfinished, err
}

// assemble joins the parts, of which none runs yet.
func (d *Daemon) assemble(conf config.Config) error {
	d.vaults = &vaults{log: d.log, options: d.ownOptions, leave: 30 * time.Second, told: d.vaultsChanged, altered: func(h *heldVault) { d.scheduler.poke(h) }, before: d.toldBefore}
	d.jobs.SetLimits(conf.Jobs.AtOnce, d.vaultLimit)
	d.service = service.New(service.Options{Vaults: d.vaults, Jobs: d.jobs, Tool: d.o.Tool, Host: d.o.Host, StateDir: conf.State, Guard: d.o.Guard, RestoreFolders: conf.RestoreFolders,
		Scratch: api.Scratch{Folder: conf.Scratch.Folder, Cap: conf.Scratch.Cap.Bytes(), LowWater: conf.Scratch.Free.Bytes()}, ReadDepth: conf.Jobs.ReadDepth, HostKnown: 10 * time.Second, Stays: true, Log: d.log})
	var err error
	if d.overview, err = d.overviewOf(conf); err != nil {
		return fmt.Errorf("notifications: %w", err)
	}
	remembered, err := openMemory(filepath.Join(conf.State, "schedule.json"))
	if err != nil {
		d.log.Warn("what was done when is forgotten, and may be done again", "error", err)
	}
	d.scheduler = &scheduler{log: d.log, vaults: d.vaults, jobs: starting{d.service, d.jobs}, memory: remembered, clock: time.Now, host: d.o.Host, booted: bootTime(),
		pause: leftAlone, poked: make(chan struct{}, 1), beat: func() { d.beat.Store(int64(time.Since(d.born))) }, of: map[*heldVault]*vaultSchedule{}, ends: map[string]ending{}}
	for _, j := range d.jobs.Jobs(api.JobQuery{Kind: api.JobBackup, Limit: 1_000_000}) {
		d.scheduler.last.note(j, time.Now())
	}
	return nil
}

// starting starts jobs by a service and ends them by its table.
type starting struct {
	*service.Service
	table *jobs.Table
}

func (s starting) Cancel(id string, why error) error { return s.table.Cancel(id, why) }
func (s starting) Unfinished(vault string) []api.Job { return s.table.Unfinished(vault) }

// ownOptions are those with which a vault is owned.
func (d *Daemon) ownOptions(v config.Vault) (o blockstore.OwnOptions, err error) {
	conf := d.conf()
	o.Unlock, err = unlocker(v, d.o.Getenv)
	if err != nil {
		return o, err
	}
	o.Known, o.StateDir, o.Budget = filepath.Join(conf.State, "vaults"), conf.State, d.budget
	o.Wait = openPatience // for a command that has it just now
	o.BlockCache = max(8<<20, (64<<20)/int64(len(conf.Vaults)))
	if v.MinFree != "" {
		if o.MinFree = v.MinFree.Bytes(); o.MinFree == 0 {
			o.MinFree = -1
		}
	}
	return o, nil
}

// vaultLimit is how many jobs run at once in the vault of a key.
func (d *Daemon) vaultLimit(key string) int {
	h, err := d.vaults.find(key)
	if err != nil {
		return 0
	}
	return h.config().AtOnce
}

// vaultsChanged is told whenever a vault was opened or left.
func (d *Daemon) vaultsChanged() {
	if d.scheduler != nil {
		d.scheduler.poke(nil)
	}
	if err := d.announce(); err != nil {
		d.log.Warn("commands do not find this daemon", "error", err)
	}
}
