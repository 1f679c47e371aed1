package service

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/strict"
)

// MaxPolicyFile is how long a file of policies may be, in bytes.
const MaxPolicyFile = 1 << 20

// ReadPolicies reads a file of policies: YAML with one key, policies, whose keys are
// names, and whose values have the keys of a [PolicyText]. Whatever is not understood is an error that
// names the line and the key. They are sorted by name.
func ReadPolicies(b []byte) (policies []blockstore.Policy, err error) {
	file, err := strict.Parse(b, MaxPolicyFile)
	if err != nil {
		return nil, err
	}
	var doc struct {
		Policies map[string]PolicyText `yaml:"policies"`
	}
	if err := file.Decode(&doc); err != nil {
		return nil, err
	}
	if doc.Policies == nil {
		return nil, errors.New("line 1: key policies is missing")
	}
	var errs []error
	for name, text := range doc.Policies {
		p, err := text.Policy(name)
		errs = append(errs, namingLines(file, name, err)...)
		policies = append(policies, p)
	}
	slices.SortFunc(policies, func(a, b blockstore.Policy) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return policies, errors.Join(errs...)
}

// namingLines says on which line each key of a policy stands that is wrong.
func namingLines(file *strict.File, name string, err error) (errs []error) {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{fmt.Errorf("policy %.64q: %w", name, err)}
	}
	for _, err := range joined.Unwrap() {
		line := file.Line("policies", name)
		var key *KeyError
		if errors.As(err, &key) {
			line = file.Line("policies", name, key.Key)
		}
		errs = append(errs, fmt.Errorf("line %d: policy %.64q: %w", line, name, err))
	}
	return errs
}
