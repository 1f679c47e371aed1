package server

import (
	"cmp"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// A vault belongs to no machine: where it lies, and whose processes write into it, sees who may see names of
// files of all machines. Who may not sees what it is called, its id, and how it is.

// seesHost tells whether the caller sees paths and command lines that belong to no machine.
func (c *call) seesHost() bool { return c.who.MayAll(access.Names) }

// vaultWithoutHost leaves out of a vault where it lies. One that is told from another by that alone goes by its id.
func vaultWithoutHost(v *api.Vault) {
	if v.Path != "" && v.Name == v.Path {
		v.Name = cmp.Or(v.ID, filepath.Base(v.Path))
	}
	v.Path = ""
}

// vaultInfoWithoutHost leaves paths and processes out of what is known of a vault. Which host writes into it stays.
func vaultInfoWithoutHost(v *api.VaultInfo) {
	vaultWithoutHost(&v.Vault)
	v.CopyOf = ""
	if v.Owner != nil {
		o := *v.Owner
		o.PID, o.Command = 0, ""
		v.Owner = &o
	}
}

// statusWithoutHost leaves paths and processes of the host out of a status: of the vaults, and of what is said about
// them. The VMs keep their names and UUIDs.
func statusWithoutHost(st api.Status) api.Status {
	st.Vaults, st.VMs, st.Machines = slices.Clone(st.Vaults), slices.Clone(st.VMs), slices.Clone(st.Machines)
	called := map[string]string{} // as vaults are called now, by what they were
	names := map[string]string{}  // by path
	for i := range st.Vaults {
		v := &st.Vaults[i]
		was, path := v.Name, v.Path
		if vaultWithoutHost(&v.Vault); path != "" {
			names[path] = v.Name
		}
		called[was] = v.Name
	}
	hide := hider(names)
	for i := range st.Vaults {
		v := &st.Vaults[i]
		v.Problem, v.Clock, v.Reasons, v.Warnings = hide(v.Problem), hide(v.Clock), eachText(v.Reasons, hide), eachText(v.Warnings, hide)
	}
	for i := range st.Machines {
		if now, ok := called[st.Machines[i].Vault]; ok {
			st.Machines[i].Vault = now
		}
	}
	for i := range st.VMs {
		vm := &st.VMs[i]
		vm.Ignore = slices.DeleteFunc(slices.Clone(vm.Ignore), func(word string) bool { return strings.HasPrefix(word, "disk:") })
	}
	st.Reasons, st.Warnings = eachText(st.Reasons, hide), eachText(st.Warnings, hide)
	return st
}

// problemWithoutHost leaves paths and processes out of a problem with a vault.
func problemWithoutHost(p *api.Problem) *api.Problem {
	q := *p
	hide := hider(nil)
	q.Detail, q.Hint = hide(q.Detail), hide(q.Hint)
	return &q
}

var (
	hostPath = regexp.MustCompile(`(^|[\s"'` + "`" + `(=:])/[^\s"'` + "`" + `(),;]*[^\s"'` + "`" + `(),;:.]`)
	// As [blockstore.BusyError] names whoever has a vault: what is in a command line ends nothing.
	hostOwner = regexp.MustCompile(`(?s)pid \d+ \(.*\) since`)
	hostThen  = regexp.MustCompile(`(?s)\(pid \d+, .*\) at`)
	hostLast  = regexp.MustCompile(`(?s) by pid \d+, .*\)`)
)

// hider returns what leaves paths and processes of the host out of a text. Known paths, which may hold spaces, are
// replaced by the names that go with them.
func hider(known map[string]string) func(string) string {
	paths := slices.SortedFunc(maps.Keys(known), func(a, b string) int { return cmp.Compare(len(b), len(a)) }) // one may begin another
	var pairs []string
	for _, path := range paths {
		pairs = append(pairs, path, known[path])
	}
	names := strings.NewReplacer(pairs...)
	return func(text string) string {
		text = hostOwner.ReplaceAllString(text, "another process since")
		text = hostThen.ReplaceAllString(text, "at")
		text = hostLast.ReplaceAllString(text, ")")
		return hostPath.ReplaceAllString(names.Replace(text), "$1[path]")
	}
}

// eachText returns what of makes of the texts of a list, in a new one.
func eachText(list []string, of func(string) string) []string {
	all := make([]string, 0, len(list))
	for _, s := range list {
		all = append(all, of(s))
	}
	return all
}
