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

// Claim is by what a policy claims machines.
type Claim struct {
	Globs []string // of their names
	Tag   string   // that they have; empty: tags do not matter
}

// CheckTag refuses what no title or metadata can say in one word; the empty tag is none.
func CheckTag(tag string) error {
	if len(tag) > 64 || strings.ContainsFunc(tag, func(r rune) bool { return strings.ContainsRune(TagSpace, r) || r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%.40q is no tag: write one word of at most 64 letters", tag)
	}
	return nil
}

// TagSpace are the characters that part the words of a title.
const TagSpace = " \t\r\n,;()[]{}"

// Claims names the policies.
func (e *AmbiguousError) Claims() string { return strings.Join(e.Policies, " and ") }

// Choose returns the policy of a machine with some tags, given what each policy claims: the one
// that names it, or else the one with a tag of it, or else the one whose matching glob says most, in
// letters that are not wild. None is ""; an [*AmbiguousError] says that several say as much.
func Choose(machine string, tags []string, claims map[string]Claim) (string, error) {
	best, chosen := -1, []string(nil)
	for name, c := range claims {
		claim := -1
		for _, g := range c.Globs {
			claim = max(claim, claimOf(g, machine))
		}
		if c.Tag != "" && slices.Contains(tags, c.Tag) {
			claim = max(claim, byTag)
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

// What a name and a tag say, more than any glob does.
const byTag, byName = 1000, 1001

// claimOf says how much a glob says of a name, -1 where it does not match.
func claimOf(glob, name string) int {
	if glob == name {
		return byName
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
