package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// MachineFile is machine.json of a point's configuration: what Holdfast knew of
// the machine. Fields are added, never renamed.
type MachineFile struct {
	Version int                `json:"version"` // 1
	Machine blockstore.Machine `json:"machine"` // as its record was
	VM      blockstore.VM      `json:"vm"`
	On      bool               `json:"on"` // it was on
	Host    string             `json:"host"`

	// State says how NVRAM and TPM state fit the disks: "held" (taken while the guest
	// was held still), "running" (taken while it ran: not consistent with the disks) or "off".
	State   string        `json:"state"`
	Missing []string      `json:"missing,omitempty"` // what could not be kept, in words
	Secrets bool          `json:"secrets,omitempty"` // domain.xml holds them
	Disks   []MachineDisk `json:"disks"`             // all that the VM had, in its order
}

// MachineDisk is a disk of the VM in [MachineFile].
type MachineDisk struct {
	Name      string   `json:"name"`
	Source    string   `json:"source"`
	Format    string   `json:"format,omitempty"`
	Size      int64    `json:"size,omitempty"`
	Serial    string   `json:"serial,omitempty"`
	Bus       string   `json:"bus,omitempty"`
	BootOrder int      `json:"boot_order,omitempty"`
	Chain     []string `json:"chain,omitempty"`
	LeftOut   string   `json:"left_out,omitempty"` // why it is not in the point
}

// addConfig puts the configuration of the machine into its point.
func (r *machineRun) addConfig(ctx context.Context, vm VM, b *blockstore.Backup, state []ConfigFile, lacks []string) error {
	files, missing := vm.Config(ctx, r.IncludeSecrets)
	missing = append(missing, lacks...)
	if r.IncludeSecrets && !r.owner.Info().Sealed {
		r.warn("the secrets of the machine's definition lie in the vault as they are: it is not sealed")
	}
	for _, what := range missing {
		r.warn("the point's configuration lacks %s", what)
	}
	about, err := r.machineFile(ctx, vm, missing)
	if err != nil {
		return err
	}
	for _, f := range append(append(files, state...), about) {
		if err := b.AddConfig(f.Name, f.Data); err != nil {
			return err
		}
	}
	return nil
}

func (r *machineRun) machineFile(ctx context.Context, vm VM, missing []string) (ConfigFile, error) {
	disks, err := vm.Disks(ctx)
	if err != nil {
		return ConfigFile{}, err
	}
	host, err := os.Hostname()
	if err != nil {
		return ConfigFile{}, err
	}
	state := "off"
	if r.facts.On {
		state = "running"
	}
	if r.held {
		state = "held"
	}
	m := MachineFile{Version: 1, Machine: r.Machine, VM: r.facts.VM, On: r.facts.On, Host: host, State: state, Missing: missing,
		Secrets: r.IncludeSecrets, Disks: make([]MachineDisk, 0, len(disks))}
	_, left, _, err := Choose(r.Machine.Protected, disks)
	if err != nil {
		return ConfigFile{}, err
	}
	why := map[string]string{}
	for _, l := range left {
		why[l.Name] = l.Reason
	}
	for _, d := range disks {
		m.Disks = append(m.Disks, MachineDisk{Name: d.Name, Source: d.Source, Format: d.Format, Size: d.Size, Serial: d.Serial,
			Bus: d.Bus, BootOrder: d.BootOrder, Chain: d.Chain, LeftOut: why[d.Name]})
	}
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return ConfigFile{}, fmt.Errorf("describe the machine: %w", err)
	}
	return ConfigFile{MachineJSON, append(text, '\n')}, nil
}
