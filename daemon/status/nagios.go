package status

import (
	"fmt"
	"strings"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// Exit codes of a plugin of Nagios.
const (
	NagiosOK       = 0
	NagiosWarning  = 1
	NagiosCritical = 2
	NagiosUnknown  = 3
)

// Nagios puts a status in one line for Nagios and what understands its plugins (Icinga, Checkmk,
// Zabbix): critical where something is at risk, warning where somebody should look, unknown where nothing can be
// told of any vault. What a guest or a host named cannot end the line or begin the performance data.
func Nagios(s api.Status) (line string, code int) {
	words, code := "all is well", NagiosOK
	switch {
	case len(s.Vaults) > 0 && allUnread(s.Vaults):
		words, code = first(s.Reasons), NagiosUnknown
	case s.AtRisk:
		words, code = first(s.Reasons), NagiosCritical
	case len(s.Warnings) > 0:
		words, code = first(s.Warnings), NagiosWarning
	}
	names := []string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}
	return fmt.Sprintf("HOLDFAST %s - %s | %s", names[code], words, perfdata(s)), code
}

func allUnread(vaults []api.VaultStatus) bool {
	for _, v := range vaults {
		if v.Problem == "" || v.AsOf != nil {
			return false
		}
	}
	return true
}

// first is the first of some texts and how many more there are, in one line.
func first(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == '|' || r == 0x7f {
			return ' '
		}
		return r
	}, texts[0])
	if r := []rune(clean); len(r) > 200 {
		clean = string(r[:200]) + "..."
	}
	return clean + more(len(texts)-1)
}

func perfdata(s api.Status) string {
	risk, missed, oldest := 0, 0, int64(0)
	for _, m := range s.Machines {
		if m.AtRisk {
			risk++
		}
		if m.Missed {
			missed++
		}
		if m.Age != nil && m.Policy != "" {
			oldest = max(oldest, *m.Age)
		}
	}
	parts := []string{fmt.Sprintf("machines=%d", len(s.Machines)), fmt.Sprintf("at_risk=%d", risk), fmt.Sprintf("rpo_missed=%d", missed),
		fmt.Sprintf("unprotected_vms=%d", len(s.VMs)), fmt.Sprintf("oldest_age=%ds", oldest)}
	for _, v := range s.Vaults {
		if v.Size == 0 {
			continue
		}
		name := strings.Map(func(r rune) rune {
			if r <= ' ' || r == '\'' || r == '=' || r == '|' || r > '~' {
				return '_'
			}
			return r
		}, v.Name)
		parts = append(parts, fmt.Sprintf("'free_%s'=%dB;;%d:;0;%d", name, v.Free, v.Floor, v.Size), fmt.Sprintf("'stored_%s'=%dB", name, v.Stored))
	}
	return strings.Join(parts, " ")
}
