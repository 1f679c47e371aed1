package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// family is one metric that is read from a status.
type family struct {
	name, help string
	labels     []string
}

func (f family) desc() *prometheus.Desc {
	return prometheus.NewDesc(f.name, f.help, f.labels, nil)
}

// sample is one value, or none.
type sample struct {
	value float64
	none  bool
}

func number(v int64) sample { return sample{value: float64(v)} }
func yes(b bool) sample {
	if b {
		return sample{value: 1}
	}
	return sample{}
}

func instant(t *api.Time) sample {
	if t == nil {
		return sample{none: true}
	}
	return sample{value: float64(t.Unix())}
}

type ofStatus struct {
	family
	value func(*api.Status) sample
}

type ofVault struct {
	family
	value func(*api.VaultStatus) sample
}

type ofMachine struct {
	family
	value func(*api.MachineStatus) sample
}

var (
	vaultLabels   = []string{"vault"}
	machineLabels = []string{"vault", "machine"}
)

// statusFamilies are what is told of all together.
var statusFamilies = []ofStatus{
	{family{"holdfast_status_timestamp_seconds", "When the status that the other values come from was true.", nil}, func(s *api.Status) sample { return instant(&s.Time) }},
	{family{"holdfast_at_risk", "1 where anything is at risk.", nil}, func(s *api.Status) sample { return yes(s.AtRisk) }},
	{family{"holdfast_risks", "Reasons for which something is at risk.", nil}, func(s *api.Status) sample { return number(int64(len(s.Reasons))) }},
	{family{"holdfast_warnings", "Warnings that somebody should look at.", nil}, func(s *api.Status) sample { return number(int64(len(s.Warnings))) }},
	{family{"holdfast_unprotected_vms", "VMs of this host that nobody protects and that are not ignored.", nil}, func(s *api.Status) sample { return number(int64(len(s.VMs))) }},
}

// vaultFamilies are what is told of each vault.
var vaultFamilies = []ofVault{
	{family{"holdfast_vault_up", "1 where the vault can be read; otherwise the rest is what was known last.", vaultLabels}, func(v *api.VaultStatus) sample { return yes(v.Problem == "") }},
	{family{"holdfast_vault_at_risk", "1 where the vault is at risk.", vaultLabels}, func(v *api.VaultStatus) sample { return yes(v.AtRisk) }},
	{family{"holdfast_vault_machines", "Machines that have recovery points.", vaultLabels}, func(v *api.VaultStatus) sample { return number(int64(v.Machines)) }},
	{family{"holdfast_vault_points", "Recovery points that are listed.", vaultLabels}, func(v *api.VaultStatus) sample { return number(int64(v.Points)) }},
	{family{"holdfast_vault_trash_points", "Recovery points in the trash.", vaultLabels}, func(v *api.VaultStatus) sample { return number(int64(v.Trash)) }},
	{family{"holdfast_vault_harmed_points", "Recovery points of which something cannot be read.", vaultLabels}, func(v *api.VaultStatus) sample { return number(int64(v.Harmed)) }},
	{family{"holdfast_vault_damaged_pieces", "Pieces of the vault that are noted as damaged.", vaultLabels}, func(v *api.VaultStatus) sample { return number(int64(v.Damaged)) }},
	{family{"holdfast_vault_logical_bytes", "Size of the disks of all points as the guests see them.", vaultLabels}, func(v *api.VaultStatus) sample { return number(v.Logical) }},
	{family{"holdfast_vault_protected_bytes", "Data in the disks of all points.", vaultLabels}, func(v *api.VaultStatus) sample { return number(v.Protects) }},
	{family{"holdfast_vault_unique_bytes", "Distinct data in the vault, before compression.", vaultLabels}, func(v *api.VaultStatus) sample { return number(v.Unique) }},
	{family{"holdfast_vault_stored_bytes", "What the vault's packs take up.", vaultLabels}, func(v *api.VaultStatus) sample { return number(v.Stored) }},
	{family{"holdfast_vault_free_bytes", "Free space of the vault's file system.", vaultLabels}, func(v *api.VaultStatus) sample { return number(v.Free) }},
	{family{"holdfast_vault_size_bytes", "Size of the vault's file system.", vaultLabels}, func(v *api.VaultStatus) sample { return number(v.Size) }},
	{family{"holdfast_vault_floor_bytes", "Free space below which no backup begins.", vaultLabels}, func(v *api.VaultStatus) sample { return number(v.Floor) }},
	{family{"holdfast_vault_growth_bytes_per_day", "What the last weeks added each day.", vaultLabels}, func(v *api.VaultStatus) sample {
		if v.Forecast == nil {
			return sample{none: true}
		}
		return number(v.Forecast.PerDay)
	}},
	{family{"holdfast_vault_full_timestamp_seconds", "When the vault is full at the growth of the last weeks; missing: not within ten years.", vaultLabels}, func(v *api.VaultStatus) sample {
		if v.Forecast == nil {
			return sample{none: true}
		}
		return instant(v.Forecast.Full)
	}},
	{family{"holdfast_vault_full_early_timestamp_seconds", "The same at the growth of the fastest of those weeks.", vaultLabels}, func(v *api.VaultStatus) sample {
		if v.Forecast == nil {
			return sample{none: true}
		}
		return instant(v.Forecast.Early)
	}},
	{family{"holdfast_vault_last_sweep_timestamp_seconds", "When the vault was swept last; missing: not known.", vaultLabels}, func(v *api.VaultStatus) sample { return instant(v.Sweep) }},
	{family{"holdfast_vault_last_check_timestamp_seconds", "When the vault was checked last; missing: not known.", vaultLabels}, func(v *api.VaultStatus) sample { return instant(v.Check) }},
	{family{"holdfast_vault_clock_trusted", "0 where nothing is removed, since the host's clock is not believed.", vaultLabels}, func(v *api.VaultStatus) sample { return yes(v.Clock == "") }},
}

// machineFamilies are what is told of each machine.
var machineFamilies = []ofMachine{
	{family{"holdfast_machine_at_risk", "1 where the machine is at risk.", machineLabels}, func(m *api.MachineStatus) sample { return yes(m.AtRisk) }},
	{family{"holdfast_machine_warnings", "Warnings about the machine.", machineLabels}, func(m *api.MachineStatus) sample { return number(int64(len(m.Warnings))) }},
	{family{"holdfast_machine_unprotected", "1 where no policy backs the machine up, and it is not ignored.", machineLabels}, func(m *api.MachineStatus) sample { return yes(m.Unprotected != nil && !m.Ignored) }},
	{family{"holdfast_machine_points", "Recovery points of the machine that are listed.", machineLabels}, func(m *api.MachineStatus) sample { return number(int64(m.Points)) }},
	{family{"holdfast_machine_last_good_timestamp_seconds", "Instant of the newest good point; missing: there is none.", machineLabels}, func(m *api.MachineStatus) sample { return point(m.Good) }},
	{family{"holdfast_machine_last_point_timestamp_seconds", "Instant of the newest point; missing: there is none.", machineLabels}, func(m *api.MachineStatus) sample { return point(m.Last) }},
	{family{"holdfast_machine_last_point_scanned", "1 where the newest point was made by reading whole disks of a running VM.", machineLabels}, func(m *api.MachineStatus) sample {
		if m.Last == nil {
			return sample{none: true}
		}
		return yes(m.Last.Mode == "scan" || m.Last.Mode == "mixed")
	}},
	{family{"holdfast_machine_last_point_consistent", "1 where the newest point reached the consistency that was asked for.", machineLabels}, func(m *api.MachineStatus) sample {
		if m.Last == nil {
			return sample{none: true}
		}
		return yes(m.Last.Consistency == m.Last.Asked || m.Last.Consistency == "application" || m.Last.Asked == "crash")
	}},
	{family{"holdfast_machine_rpo_seconds", "How old the newest good point may be; missing: no objective is set.", machineLabels}, func(m *api.MachineStatus) sample { return sample{float64(m.Objective), m.Objective == 0} }},
	{family{"holdfast_machine_rpo_missed", "1 where the newest good point is older.", machineLabels}, func(m *api.MachineStatus) sample { return yes(m.Missed) }},
	{family{"holdfast_machine_next_run_timestamp_seconds", "When the next backup is due; missing: none is.", machineLabels}, func(m *api.MachineStatus) sample { return instant(m.Next) }},
	{family{"holdfast_machine_protected_bytes", "Data in the disks of the newest point.", machineLabels}, func(m *api.MachineStatus) sample { return number(m.Protects) }},
	{family{"holdfast_machine_stored_bytes", "What the listed points of the machine added to the vault.", machineLabels}, func(m *api.MachineStatus) sample { return number(m.Stored) }},
	{family{"holdfast_machine_last_job_failed", "1 where the last backup that is known failed, was cancelled or interrupted.", machineLabels}, func(m *api.MachineStatus) sample {
		if m.Job == nil {
			return sample{none: true}
		}
		return yes(m.Job.State != api.JobCompleted && m.Job.State != api.JobWarnings)
	}},
}

func point(p *api.PointBrief) sample {
	if p == nil {
		return sample{none: true}
	}
	return instant(&p.Time)
}

// statusCollector shows one status.
type statusCollector struct{ s *api.Status }

// Describe tells nothing: what is shown depends on the status.
func (statusCollector) Describe(chan<- *prometheus.Desc) {}

// Collect shows the status.
func (c statusCollector) Collect(to chan<- prometheus.Metric) {
	show := func(f family, s sample, labels ...string) {
		if !s.none {
			to <- prometheus.MustNewConstMetric(f.desc(), prometheus.GaugeValue, s.value, labels...)
		}
	}
	for _, f := range statusFamilies {
		show(f.family, f.value(c.s))
	}
	taken := map[string]bool{}
	for i := range c.s.Vaults {
		v := &c.s.Vaults[i]
		name := single(taken, "", v.Name, v.ID)
		for _, f := range vaultFamilies {
			show(f.family, f.value(v), name)
		}
	}
	clear(taken)
	for i := range c.s.Machines {
		m := &c.s.Machines[i]
		vault := strings.ToValidUTF8(m.Vault, "?")
		name := single(taken, vault+"\x00", m.Name, m.ID)
		for _, f := range machineFamilies {
			show(f.family, f.value(m), vault, name)
		}
	}
}

// single is a name that nothing else has as its label.
func single(taken map[string]bool, within, name, id string) string {
	name = strings.ToValidUTF8(name, "?")
	if taken[within+name] {
		name += " (" + strings.ToValidUTF8(id, "?") + ")"
	}
	for taken[within+name] {
		name += "+"
	}
	taken[within+name] = true
	return name
}

// since is for durations of jobs.
func since(from, to *api.Time) time.Duration {
	if from == nil || to == nil {
		return 0
	}
	return max(0, to.Sub(from.Time))
}
