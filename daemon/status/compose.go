package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// Compose makes a status of facts, the machines by name. Of a vault that cannot be read, it
// says what the status before said, and when that was.
func Compose(f Facts) api.Status {
	s := api.Status{Time: api.At(f.Now), Host: f.Host, Reasons: []string{}, Warnings: []string{}, Vaults: []api.VaultStatus{},
		Machines: []api.MachineStatus{}, VMs: []api.UnprotectedVM{}, Ignored: append([]string{}, f.Ignored...)}
	for i := range f.Vaults {
		v := &f.Vaults[i]
		if v.Problem != "" {
			kept, machines := keptStatus(v, f.Before, f.Now)
			s.Vaults, s.Machines = append(s.Vaults, kept), append(s.Machines, machines...)
			continue
		}
		s.Vaults = append(s.Vaults, vaultStatus(v, &f))
		for j := range v.Machines {
			s.Machines = append(s.Machines, machineStatus(&v.Machines[j], v, &f))
		}
	}
	slices.SortStableFunc(s.Machines, func(a, b api.MachineStatus) int { return strings.Compare(a.Name, b.Name) })
	s.VMs = unprotectedVMs(&f)
	sum(&s)
	switch {
	case f.Unasked != "":
		s.Warnings = append(s.Warnings, notAsked+f.Unasked)
	case len(f.Vaults) == 0:
		s.Warnings = append(s.Warnings, "there is no vault, so nothing is protected: `holdfast vault create FOLDER` makes one, and `vaults` of the configuration names it")
	}
	return s
}

// sum says of everything together what is said of its parts.
func sum(s *api.Status) {
	for _, v := range s.Vaults {
		for _, r := range v.Reasons {
			s.Reasons = append(s.Reasons, fmt.Sprintf("vault %s: %s", v.Name, r))
		}
		for _, w := range v.Warnings {
			s.Warnings = append(s.Warnings, fmt.Sprintf("vault %s: %s", v.Name, w))
		}
	}
	for _, m := range s.Machines {
		for _, r := range m.Reasons {
			s.Reasons = append(s.Reasons, fmt.Sprintf("machine %s: %s", m.Name, r))
		}
		for _, w := range m.Warnings {
			s.Warnings = append(s.Warnings, fmt.Sprintf("machine %s: %s", m.Name, w))
		}
	}
	for i := range s.VMs {
		s.Reasons = append(s.Reasons, nobodyProtects(&s.VMs[i]))
	}
	s.AtRisk = len(s.Reasons) > 0
}

// Only leaves one machine in a status, by name or id, and what is said of it and its vault. It
// is false where there is none.
func Only(s api.Status, machine string) (api.Status, bool) {
	var left []api.MachineStatus
	vaults := []api.VaultStatus{}
	for _, m := range s.Machines {
		if m.Name == machine || m.ID == machine {
			left = append(left, m)
		}
	}
	for _, v := range s.Vaults {
		if slices.ContainsFunc(left, func(m api.MachineStatus) bool { return m.Vault == v.Name }) {
			vaults = append(vaults, v)
		}
	}
	s.Machines, s.Vaults, s.VMs, s.Reasons, s.Warnings = left, vaults, []api.UnprotectedVM{}, []string{}, []string{}
	sum(&s)
	return s, len(left) > 0
}

// InVault leaves one vault in a status, by its id or, where that is not known, its path, with its
// machines and the VMs of the host.
func InVault(s api.Status, id, path string) api.Status {
	vaults, machines, names := []api.VaultStatus{}, []api.MachineStatus{}, map[string]bool{}
	for _, v := range s.Vaults {
		if id != "" && v.ID == id || (id == "" || v.ID == "") && v.Path == path {
			vaults, names[v.Name] = append(vaults, v), true
		}
	}
	for _, m := range s.Machines {
		if names[m.Vault] {
			machines = append(machines, m)
		}
	}
	s.Vaults, s.Machines, s.Reasons, s.Warnings = vaults, machines, []string{}, slices.DeleteFunc(slices.Clone(s.Warnings), func(w string) bool { return !strings.HasPrefix(w, notAsked) })
	sum(&s)
	return s
}

// notAsked begins the warning that VMs of the host did not answer.
const notAsked = "not every VM of this host could be asked: "

// SameVault tells whether two are one: by id or, where that is not known of both, by path.
func SameVault(a, b api.Vault) bool {
	if a.ID != "" && b.ID != "" {
		return a.ID == b.ID
	}
	return a.Path == b.Path
}

// keptStatus is what is known of a vault that cannot be read, and of its machines.
func keptStatus(v *VaultFacts, before *api.Status, now time.Time) (api.VaultStatus, []api.MachineStatus) {
	kept := api.VaultStatus{Vault: v.Vault}
	var machines []api.MachineStatus
	if before != nil {
		for _, old := range before.Vaults {
			if !SameVault(old.Vault, v.Vault) || old.Problem != "" && old.AsOf == nil { // of which nothing was known, either
				continue
			}
			kept = old
			kept.Name, kept.Path = cmp.Or(v.Vault.Name, old.Name), cmp.Or(v.Vault.Path, old.Path)
			if kept.AsOf == nil {
				at := before.Time
				kept.AsOf = &at
			}
			for _, m := range before.Machines {
				if m.Vault == old.Name {
					m.Vault = kept.Name
					machines = append(machines, aged(m, now))
				}
			}
			break
		}
	}
	kept.Problem, kept.AtRisk = v.Problem, true
	kept.Reasons, kept.Warnings = []string{"it cannot be read: " + v.Problem}, []string{}
	return kept, machines
}

// aged is what a status before said of a machine, with the age that its point has now.
func aged(m api.MachineStatus, now time.Time) api.MachineStatus {
	if m.Good == nil {
		return m
	}
	age := seconds(now.Sub(m.Good.Time.Time))
	m.Age = &age
	if m.Objective > 0 && age > m.Objective && !m.Missed {
		m.Missed, m.AtRisk = true, true
		m.Reasons = append(slices.Clone(m.Reasons), late(age, m.Objective))
	}
	return m
}

func seconds(d time.Duration) int64 { return int64(max(d, 0) / time.Second) }
