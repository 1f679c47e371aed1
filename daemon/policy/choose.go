package policy

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// CheckGlob refuses what cannot match the name of a machine.
func CheckGlob(glob string) error {
	if _, err := path.Match(glob, ""); err != nil || glob == "" || len(glob) > 128 || strings.Contains(glob, "/") {
		return fmt.Errorf("%.40q matches no machine: write a name, or one with * and ?", glob)
	}
	return nil
}

// AmbiguousError says that several policies have an equal claim to a machine.
type AmbiguousError struct {
	Machine  string
	Policies []string // sorted
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("machine %s belongs to policies %s alike", e.Machine, strings.Join(e.Policies, " and "))
}

// Choose returns the policy of a machine, given the globs of each policy: the one that
// names it, or else the one whose matching glob says most, in letters that are not wild. None is "";
// an [*AmbiguousError] says that several say as much.
func Choose(machine string, globs map[string][]string) (string, error) {
	best, chosen := -1, []string(nil)
	for name, list := range globs {
		claim := -1
		for _, g := range list {
			claim = max(claim, claimOf(g, machine))
		}
		switch {
		case claim < 0 || claim < best:
		case claim > best:
			best, chosen = claim, []string{name}
		default:
			chosen = append(chosen, name)
		}
	}
	if len(chosen) > 1 {
		slices.Sort(chosen)
		return "", &AmbiguousError{machine, chosen}
	}
	return strings.Join(chosen, ""), nil
}

// claimOf says how much a glob says of a name, -1 where it does not match.
func claimOf(glob, name string) int {
	if glob == name {
		return len(name) + 1
	}
	if ok, err := path.Match(glob, name); err != nil || !ok {
		return -1
	}
	claim, class := 0, false
	for _, r := range glob {
		switch {
		case r == '[':
			class = true
		case r == ']':
			class = false
		case !class && r != '*' && r != '?' && r != '\\':
			claim++
		}
	}
	return claim
}
