package daemon

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"

	"github.com/holdfast-backup/holdfast/daemon/access"
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
		OpenDisk: d.openDisk, MapDisk: d.mapDisk, CompareDisk: d.compareDisk, ReadConfig: d.readConfig, Files: d.service, Finder: d.service, Names: d.names, Lend: d.lend,
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
