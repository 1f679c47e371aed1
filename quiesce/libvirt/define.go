package libvirt

import (
	"context"
	"errors"
	"fmt"
)

// Define gives libvirt a domain's definition and returns the domain.
func (h *Host) Define(ctx context.Context, text string) (*Domain, error) {
	root, err := parseXML(text)
	if err != nil {
		return nil, fmt.Errorf("define domain: %w", err)
	}
	if _, err := h.virsh(ctx, "define", "--file", document(text)); err != nil {
		return nil, fmt.Errorf("define domain %q: %w", root.text("name"), err)
	}
	if id := root.text("uuid"); isUUID(id) {
		return h.Domain(ctx, id)
	}
	return h.Domain(ctx, root.text("name"))
}

// Undefine removes a domain's definition, and libvirt's record of its checkpoints,
// snapshots and saved state. Its disks stay, and its NVRAM and TPM state if keep is set.
func (d *Domain) Undefine(ctx context.Context, keep bool) error {
	options := []any{"--managed-save", "--snapshots-metadata", "--checkpoints-metadata"}
	if keep {
		options = append(options, "--keep-nvram")
	} else {
		options = append(options, "--nvram")
	}
	if !d.host.libvirt.Before(8, 9) {
		options = append(options, map[bool]any{true: "--keep-tpm", false: "--tpm"}[keep])
	}
	_, err := d.virsh(ctx, "undefine", options...)
	return d.wrap("undefine", err)
}

// Start starts the domain.
func (d *Domain) Start(ctx context.Context) error {
	_, err := d.virsh(ctx, "start")
	if says(err, "already active") {
		return nil
	}
	return d.wrap("start", err)
}

// Stop ends the domain at once, as if its power failed.
func (d *Domain) Stop(ctx context.Context) error {
	_, err := d.virsh(ctx, "destroy")
	if says(err, "is not running") {
		return nil
	}
	return d.wrap("stop", err)
}

// Lacking says what the host lacks for a definition: networks, pools, secrets, filters, files
// of firmware, the machine type.
func (h *Host) Lacking(ctx context.Context, text string) ([]string, error) {
	return nil, errors.New("not built yet")
}
