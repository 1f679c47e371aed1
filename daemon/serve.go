package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/server"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// serve answers clients until ctx ends; what ended it is sent on the channel.
func (d *Daemon) serve(ctx context.Context) (chan error, error) {
	conf := d.conf()
	store, err := access.Open(filepath.Join(conf.State, "access"), access.Options{Group: conf.Group, GroupRole: access.Role(conf.GroupRole), UID: os.Geteuid()})
	if err != nil {
		return nil, err
	}
	audit, err := access.OpenLog(filepath.Join(conf.State, "audit"), access.LogOptions{})
	if err != nil {
		return nil, err
	}
	s, err := server.New(server.Config{Operations: d.service, Access: store, Audit: audit, Log: d.log, Version: d.o.Tool, Explain: service.Explain,
		OpenDisk: d.openDisk, MapDisk: d.mapDisk, CompareDisk: d.compareDisk, ReadConfig: d.readConfig, Files: d.service, Names: d.names, Lend: d.lend,
		Watching: d.service, Metrics: d.overview.Metrics()})
	if err != nil {
		return nil, errors.Join(err, audit.Close())
	}
	listeners, err := d.listen()
	if err != nil {
		return nil, errors.Join(err, audit.Close())
	}
	served := make(chan error, 1)
	go func() { // ends with ctx; live waits for what it sends
		served <- errors.Join(s.Serve(ctx, listeners...), audit.Close())
	}()
	return served, nil
}

// listen opens the socket and, where the configuration says so, a port.
func (d *Daemon) listen() ([]net.Listener, error) {
	conf := d.conf()
	socket := filepath.Join(conf.Run, service.SocketName)
	l, err := server.ListenUnix(socket, conf.Group)
	if err != nil {
		return nil, err
	}
	d.log.Info("listening", "socket", socket)
	if conf.Listen.TCP == "" {
		return []net.Listener{l}, nil
	}
	port, err := server.ListenTLS(conf.Listen.TCP, conf.Listen.Certificate, conf.Listen.Key, d.log)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	d.log.Info("listening", "tcp", port.Addr().String())
	return []net.Listener{l, port}, nil
}

// lend leaves a vault to a client. Jobs that run there are in the way, and none begins meanwhile.
func (d *Daemon) lend(ctx context.Context, vault string) (release func(), err error) {
	h, err := d.vaults.find(vault)
	if err != nil {
		return nil, err
	}
	begin := d.jobs.Hold(h.known().Key())
	if busy := runningIn(d.jobs.Unfinished(h.known().Key())); busy != nil {
		begin()
		return nil, busy
	}
	back, err := d.vaults.lend(ctx, vault)
	if err != nil {
		begin()
		return nil, err
	}
	return func() {
		back()
		begin()
	}, nil
}

// JobsError says that jobs that run are in the way.
type JobsError struct{ Jobs []api.Job }

func (e *JobsError) Error() string {
	var names []string
	for _, j := range e.Jobs {
		names = append(names, strings.TrimSpace(fmt.Sprintf("%s (%s %s", j.ID, j.Kind, j.Machine))+")")
	}
	return "jobs run in the vault: " + strings.Join(names, ", ")
}

// Unwrap makes it a kind of being busy.
func (e *JobsError) Unwrap() error { return syscall.EBUSY }

// runningIn returns an error where any of some jobs runs.
func runningIn(list []api.Job) error {
	list = slices.DeleteFunc(list, func(j api.Job) bool { return j.State != api.JobRunning })
	if len(list) == 0 {
		return nil
	}
	return &JobsError{list}
}
