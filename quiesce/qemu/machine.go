package qemu

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/quiesce/qmp"
)

// Monitor carries out QMP commands: a *qmp.Client, or libvirt's pass-through. A command
// that QEMU refuses is a *qmp.Error; a monitor whose QEMU has ended wraps qmp.ErrGone.
type Monitor interface {
	Do(ctx context.Context, command string, args, reply any) error
}

// peer is what a monitor may know of the process behind it.
type peer interface {
	Peer() (pid, uid, gid int)
}

// Options of Open. The zero value is what is usual.
type Options struct {
	PID      int           // of the QEMU process, where the monitor cannot tell; 0: not known
	Interval time.Duration // between looks at a machine with a snapshot; 0: half a second
	Stall    time.Duration // how long an NBD server may make no progress; 0: nbd's default
}

// Machine is a running QEMU.
type Machine struct {
	mon      Monitor
	opts     Options
	version  Version
	features features
	process  process
	missed   *error // see inquiring
}

// Version of QEMU.
type Version struct {
	Major, Minor, Micro int
	Package             string // the distribution's; may be empty
}

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Micro) }

// before tells whether v is older than a release.
func (v Version) before(major, minor int) bool {
	return v.Major < major || v.Major == major && v.Minor < minor
}

// ErrTooOld is wrapped where QEMU lacks what a snapshot needs.
var ErrTooOld = errors.New("this QEMU cannot make snapshots for backups (5.2 or newer is needed)")

const defaultInterval = 500 * time.Millisecond

// Open asks a monitor what QEMU it is. It changes nothing. The monitor stays the caller's to close.
func Open(ctx context.Context, mon Monitor, o Options) (*Machine, error) {
	if o.Interval <= 0 {
		o.Interval = defaultInterval
	}
	m := &Machine{mon: mon, opts: o}
	var v struct {
		QEMU    struct{ Major, Minor, Micro int } `json:"qemu"`
		Package string                            `json:"package"`
	}
	if err := m.do(ctx, "query-version", nil, &v); err != nil {
		return nil, fmt.Errorf("ask QEMU for its version: %w", err)
	}
	m.version = Version{v.QEMU.Major, v.QEMU.Minor, v.QEMU.Micro, v.Package}
	var err error
	if m.features, err = readFeatures(ctx, m); err != nil {
		return nil, err
	}
	m.process = findProcess(mon, o.PID)
	return m, nil
}

// Version is that of the QEMU that runs.
func (m *Machine) Version() Version { return m.version }

// object is a JSON object of a command.
type object map[string]any

func (m *Machine) do(ctx context.Context, command string, args object, reply any) error {
	if args == nil {
		return m.mon.Do(ctx, command, nil, reply) // no object at all, rather than an empty one of a type
	}
	return m.mon.Do(ctx, command, args, reply)
}

// gone tells whether err says that QEMU has ended, so that nothing of ours can be
// left in it.
func gone(err error) bool { return errors.Is(err, qmp.ErrGone) }
