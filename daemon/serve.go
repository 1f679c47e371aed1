package daemon

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"

	"github.com/holdfast-backup/holdfast/blockstore"
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
		OpenDisk: d.openDisk, Files: d.service, Lend: d.lend, Watching: d.service, Metrics: d.overview.Metrics()})
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

// openDisk opens a disk of a point, and keeps its vault from being left until it is closed.
func (d *Daemon) openDisk(ctx context.Context, vault, machine, point, disk string) (server.Disk, error) {
	h, err := d.vaults.find(vault)
	if err != nil {
		return nil, err
	}
	c, release, err := h.take(ctx)
	if err != nil {
		return nil, err
	}
	var opened *blockstore.Disk
	err = unlessHung(c.hung, func() error { return c.hang }, func() error {
		p, err := service.FindPoint(ctx, c.owner.Vault, api.PointRef{Machine: machine, Point: point})
		if err == nil {
			opened, err = c.owner.OpenDisk(p, disk)
		}
		return err
	})
	if err != nil {
		release()
		return nil, err
	}
	return &openedDisk{Disk: opened, release: release}, nil
}

// openedDisk is a disk whose vault is kept open for it.
type openedDisk struct {
	*blockstore.Disk
	release func()
}

// Close lets the vault go.
func (o *openedDisk) Close() error {
	o.release()
	return nil
}
