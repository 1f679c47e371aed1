package libvirt

import (
	"context"
	"encoding/json"
	"fmt"
)

// OpenDisk reads a disk of a domain that is off, wherever it lies, through qemu-nbd. Whether the
// domain stays off is the caller's to watch. An image whose header names files that the
// definition does not name is refused.
func (d *Domain) OpenDisk(ctx context.Context, disk Disk) (*ImageReader, error) {
	r, err := d.openDisk(ctx, disk)
	if err != nil {
		return nil, d.wrap("open disk "+disk.Name, err)
	}
	return r, nil
}

func (d *Domain) openDisk(ctx context.Context, disk Disk) (*ImageReader, error) {
	disk, err := d.host.located(ctx, disk)
	if err != nil {
		return nil, err
	}
	o, err := disk.Options()
	if err != nil {
		return nil, err
	}
	spec := imageSpec{node: o.Node, secrets: map[string][]byte{}}
	for id, ref := range o.Secrets {
		if spec.secrets[id], err = d.host.SecretValue(ctx, ref); err != nil {
			return nil, err
		}
	}
	if len(spec.secrets) == 0 && disk.Format == "qcow2" {
		if err := closed(ctx, o.Node); err != nil {
			return nil, err
		}
	}
	return openImage(ctx, spec)
}

// located gives volumes their paths.
func (h *Host) located(ctx context.Context, disk Disk) (Disk, error) {
	at := func(s *Source) (err error) {
		if s.Volume != "" && s.Path == "" {
			s.Path, err = h.VolumePath(ctx, s.Pool, s.Volume)
		}
		return err
	}
	if err := at(&disk.Source); err != nil {
		return disk, err
	}
	chain := append([]Layer(nil), disk.Chain...)
	for i := range chain {
		if err := at(&chain[i].Source); err != nil {
			return disk, err
		}
	}
	disk.Chain = chain
	return disk, nil
}

// closed sees to it that no header in the chain names a file that the node does not: what lies in there
// would be missing, or be any file of this host.
func closed(ctx context.Context, node map[string]any) error {
	for node != nil && node["driver"] == "qcow2" {
		below, _ := node["backing"].(map[string]any)
		alone := map[string]any{}
		for k, v := range node {
			alone[k] = v
		}
		alone["backing"] = nil
		text, err := json.Marshal(alone)
		if err != nil {
			return err
		}
		out, err := qemuImg(ctx, "info", "--output=json", "--force-share", "json:"+string(text))
		if err != nil {
			return err
		}
		var info struct {
			Backing  string `json:"backing-filename"`
			Specific struct {
				Data struct {
					DataFile string `json:"data-file"`
				} `json:"data"`
			} `json:"format-specific"`
		}
		if err := json.Unmarshal([]byte(out), &info); err != nil {
			return fmt.Errorf("qemu-img info: %w", err)
		}
		switch {
		case info.Specific.Data.DataFile != "":
			return fmt.Errorf("the image keeps its data in another file, %q: back it up while the domain runs", info.Specific.Data.DataFile)
		case info.Backing != "" && below == nil:
			return fmt.Errorf("the image is based on another one, %q, which the domain's definition does not name: back it up while the domain runs", info.Backing)
		}
		node = below
	}
	return nil
}
