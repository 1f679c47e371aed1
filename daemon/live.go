package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/config"
	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/quiesce"
)

const (
	// cancelLimit is how long cancelled jobs may take to leave everything in order.
	cancelLimit = 3 * time.Minute
	// thawLimit is how long is tried at the start to thaw guests that were left frozen.
	thawLimit = 2 * time.Minute
)

// live runs the parts until ctx ends and lets go of everything then.
func (d *Daemon) live(ctx context.Context, unfinished []api.Job) error {
	base := context.WithoutCancel(ctx)
	holding, leaveVaults := context.WithCancel(base)
	defer leaveVaults()
	scheduling, stopScheduling := context.WithCancel(base)
	defer stopScheduling()
	serving, stopServing := context.WithCancelCause(base)
	defer stopServing(nil)

	conf := d.conf()
	release := d.cleanUp(scheduling, unfinished)
	d.vaults.set(holding, conf.Vaults)
	served, err := d.serve(serving)
	if err != nil {
		leaveVaults()
		d.vaults.wait.Wait()
		return errors.Join(err, d.jobs.Close(base))
	}
	var loops sync.WaitGroup
	loops.Go(func() { d.thawLeftovers(scheduling, conf.State) })
	loops.Go(func() { release(scheduling) })
	loops.Go(func() { d.scheduler.run(scheduling) })
	loops.Go(func() { d.joinByTags(scheduling) })
	loops.Go(func() { d.overlook(scheduling) })
	d.mounts.set(d, conf.Mount, d.vaults.list())

	d.left() // whoever waited for an end before has it
	d.log.Info("daemon is ready", "vaults", len(conf.Vaults), "tool", d.o.Tool)
	d.tell("READY=1")
	err = d.watch(ctx, holding, served)
	d.log.Info("daemon is ending")
	d.tell("STOPPING=1")
	stopScheduling()
	loops.Wait()
	err = errors.Join(err, d.endJobs(base))
	stopServing(errors.New("the daemon is ending"))
	if e := <-served; e != nil && err == nil {
		err = e
	}
	d.mounts.end()
	leaveVaults()
	d.vaults.wait.Wait()
	service.Announce(d.conf().Run, []service.Announced{}) // the socket is gone, that is told too
	d.log.Info("daemon has ended")
	d.left()
	return err
}

// watch reloads when asked to, and tells the service manager that all is well, until ctx ends,
// nobody is served any more, or the daemon was asked to end and is idle.
func (d *Daemon) watch(ctx, holding context.Context, served chan error) error {
	every := time.Minute
	if w := d.systemd.watchdog; w > 0 {
		every = min(every, w/3)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	asked := time.NewTicker(leaveLook)
	defer asked.Stop()
	var leave leaver
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-served:
			served <- nil
			if err == nil {
				err = errors.New("the interface is not served any more")
			}
			return err
		case <-d.o.Reload:
			d.reload(holding)
		case <-tick.C:
			d.wellness()
		case <-asked.C:
			if d.mayLeave(ctx, &leave) {
				return nil
			}
		}
	}
}

// wellness tells the service manager how things stand; that all is well only while the scheduler's loop turns.
func (d *Daemon) wellness() {
	lines := []string{"STATUS=" + d.statusLine()}
	if late := time.Since(d.born) - time.Duration(d.beat.Load()); late < 3*lookAgain {
		lines = append(lines, "WATCHDOG=1")
	} else {
		d.log.Error("nothing is scheduled any more: the service manager is not told that all is well", "since", late.String())
	}
	d.tell(lines...)
}

// statusLine says how things stand in a few words.
func (d *Daemon) statusLine() string {
	open, all := 0, d.vaults.list()
	for _, h := range all {
		if h.isOpen() {
			open++
		}
	}
	waiting, running := d.standing()
	return fmt.Sprintf("%d of %d vaults open; %d jobs run, %d wait", open, len(all), running, waiting)
}

func (d *Daemon) tell(lines ...string) {
	if err := d.systemd.tell(lines...); err != nil {
		d.log.Warn("the service manager hears nothing", "error", err)
	}
}

// reload takes a new configuration over. One that is wrong is refused, and the old one goes on.
func (d *Daemon) reload(holding context.Context) {
	if err := d.systemd.reloading(); err != nil {
		d.log.Warn("the service manager hears nothing", "error", err)
	}
	defer func() { d.tell("READY=1", "STATUS="+d.statusLine()) }()
	conf, err := d.o.Config()
	if err != nil {
		d.log.Error("the configuration is refused, the old one goes on", "error", err)
		return
	}
	old := d.conf()
	for _, key := range restartFor(old, &conf) {
		d.log.Warn("a change of the configuration takes a restart", "key", key)
	}
	conf.State, conf.Run, conf.Group, conf.GroupRole = old.State, old.Run, old.Group, old.GroupRole
	conf.Listen, conf.Memory, conf.RestoreFolders = old.Listen, old.Memory, old.RestoreFolders
	d.current.Store(&conf)
	d.level.Set(levelOf(conf.Log.Level))
	d.jobs.SetLimits(conf.Jobs.AtOnce, d.vaultLimit)
	d.vaults.set(holding, conf.Vaults)
	d.mounts.set(d, conf.Mount, d.vaults.list())
	d.vaultsChanged()
	d.log.Info("the configuration is reloaded", "vaults", len(conf.Vaults))
}

// restartFor names what is different and counts only after a restart.
func restartFor(a, b *config.Config) (keys []string) {
	for key, differs := range map[string]bool{"state": a.State != b.State, "run": a.Run != b.Run, "group": a.Group != b.Group, "group-role": a.GroupRole != b.GroupRole, "listen": a.Listen != b.Listen, "memory": a.Memory != b.Memory,
		"metrics-textfile": a.MetricsTextfile != b.MetricsTextfile, "notifications": !reflect.DeepEqual(a.Notifications, b.Notifications), "scratch": a.Scratch != b.Scratch,
		"jobs.read-depth": a.Jobs.ReadDepth != b.Jobs.ReadDepth, "restore-folders": fmt.Sprint(a.RestoreFolders) != fmt.Sprint(b.RestoreFolders), "log.format": a.Log.Format != b.Log.Format} {
		if differs {
			keys = append(keys, key)
		}
	}
	return keys
}

// endJobs lets no more jobs begin, waits for those that run as long as the configuration says,
// and cancels what is left.
func (d *Daemon) endJobs(ctx context.Context) error {
	for _, h := range d.vaults.list() {
		defer d.jobs.Hold(h.known().Key(), "the daemon is ending")()
	}
	limit := d.conf().Jobs.ShutdownLimit.Duration()
	deadline := time.Now().Add(limit)
	d.tell(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (limit + cancelLimit + time.Minute).Microseconds()))
	for first := true; d.running() && time.Now().Before(deadline); first = false {
		if first {
			d.log.Info("jobs that run are waited for", "limit", limit.String())
		}
		time.Sleep(100 * time.Millisecond)
	}
	if d.running() {
		d.log.Warn("jobs that did not end in time are cancelled")
	}
	ctx, cancel := context.WithTimeout(ctx, cancelLimit)
	defer cancel()
	return d.jobs.Close(ctx)
}

func (d *Daemon) running() bool {
	_, running := d.standing()
	return running > 0
}

// thawLeftovers thaws guests that a backup left frozen whose process was killed.
func (d *Daemon) thawLeftovers(ctx context.Context, state string) {
	dir := service.Freezes(state)
	if _, err := os.Stat(filepath.Clean(dir)); err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, thawLimit)
	defer cancel()
	list, err := quiesce.ThawLeftovers(ctx, dir)
	if err != nil {
		d.log.Error("guests that were left frozen cannot be looked for", "error", err)
	}
	for _, l := range list {
		switch log := d.log.With("machine", l.Entry.Machine, "since", l.Entry.Time); l.Outcome {
		case quiesce.Thawed:
			log.Warn("a guest that was left frozen is thawed")
		case quiesce.Failed:
			log.Error("a guest may still be frozen", "error", l.Err, "hint", "holdfast thaw --leftovers")
		}
	}
}
