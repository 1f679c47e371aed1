package libvirt

import (
	"context"
	"errors"
)

// Document is the XML of something that a domain's definition refers to.
type Document struct {
	Kind string // network, pool, nwfilter or secret
	Name string
	XML  string
}

// Related returns the XML of the networks, pools and filters (with those that they
// refer to) that the domain's definition names, and of its secrets where asked, their values in
// Secrets. What the host does not have is in missing.
func (d *Domain) Related(ctx context.Context, secrets bool) (found []Document, missing []string, err error) {
	return nil, nil, errors.New("not built yet")
}

// Firmware says where the state lies that a domain keeps beside its disks.
type Firmware struct {
	NVRAM string // file of UEFI variables; empty: none
	TPM   string // folder of the emulated TPM's state; empty: none
}

// Firmware finds the files of NVRAM and TPM state.
func (d *Domain) Firmware(ctx context.Context) (Firmware, error) {
	return Firmware{}, errors.New("not built yet")
}

// SecretValue asks for a secret's value.
func (h *Host) SecretValue(ctx context.Context, r SecretRef) ([]byte, error) {
	return nil, errors.New("not built yet")
}

// VolumePath asks where a volume of a pool lies.
func (h *Host) VolumePath(ctx context.Context, pool, volume string) (string, error) {
	return "", errors.New("not built yet")
}
