package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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

// Lacking says, in words, what the host lacks for a definition: networks, bridges, pools,
// secrets, filters, the program and files of firmware, the machine type, devices that were passed through.
func (h *Host) Lacking(ctx context.Context, text string) ([]string, error) {
	root, err := parseDomain(text)
	if err != nil {
		return nil, err
	}
	_, lacking, err := h.related(ctx, root, false)
	if err != nil {
		return nil, err
	}
	devices := root.child("devices")
	for _, e := range devices.all("interface") {
		if bridge := e.child("source").attr("bridge"); e.attr("type") == "bridge" && bridge != "" {
			lacking = lackingFile(lacking, "bridge "+bridge, filepath.Join("/sys/class/net", filepath.Base(bridge)))
		}
	}
	lacking = lackingFile(lacking, "QEMU "+devices.text("emulator"), devices.text("emulator"))
	lacking = lackingFile(lacking, "firmware "+root.text("os/loader"), root.text("os/loader"))
	for _, e := range devices.all("hostdev") {
		lacking = append(lacking, "a "+e.attr("type")+" device of the host that was passed through: see whether this host has it at the same address")
	}
	kind := root.at("os/type")
	args := []any{"--virttype=" + root.attr("type")}
	for option, value := range map[string]string{"--machine=": kind.attr("machine"), "--arch=": kind.attr("arch"), "--emulatorbin=": devices.text("emulator")} {
		if value != "" {
			args = append(args, option+value)
		}
	}
	if _, err := h.virsh(ctx, "domcapabilities", args...); err != nil {
		var refused *Error
		if !errors.As(err, &refused) {
			return nil, err
		}
		lacking = append(lacking, fmt.Sprintf("machine type %s of %s (%s)", kind.attr("machine"), kind.attr("arch"), refused.Message))
	}
	return lacking, nil
}

func lackingFile(list []string, what, path string) []string {
	if path == "" {
		return list
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		list = append(list, what)
	}
	return list
}
