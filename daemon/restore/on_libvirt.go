package restore

import (
	"context"
	"errors"

	"github.com/holdfast-backup/holdfast/quiesce/libvirt"
)

// OnLibvirt is a [Definer] of libvirt's.
func OnLibvirt(h *libvirt.Host) Definer { return onLibvirt{h} }

type onLibvirt struct{ host *libvirt.Host }

func (l onLibvirt) Lacking(ctx context.Context, xml string) ([]string, error) {
	return l.host.Lacking(ctx, xml)
}

func (l onLibvirt) Known(ctx context.Context, nameOrUUID string) (bool, error) {
	_, err := l.host.Domain(ctx, nameOrUUID)
	if errors.Is(err, libvirt.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (l onLibvirt) Define(ctx context.Context, xml string) error {
	_, err := l.host.Define(ctx, xml)
	return err
}

func (l onLibvirt) Start(ctx context.Context, nameOrUUID string) error {
	d, err := l.host.Domain(ctx, nameOrUUID)
	if err != nil {
		return err
	}
	return d.Start(ctx)
}
