package service

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// MaxPolicyFile is how long a file of policies may be, in bytes.
const MaxPolicyFile = 1 << 20

// ReadPolicies reads a file of policies: YAML with one key, policies, whose keys are
// names, and whose values have the keys of a [PolicyText]. Whatever is not understood is an error that
// names the line and the key. They are sorted by name.
func ReadPolicies(b []byte) (policies []blockstore.Policy, err error) {
	defer func() { // the parser does, on some of what is hardly YAML
		if r := recover(); r != nil {
			policies, err = nil, fmt.Errorf("it is no YAML that can be read (%.100v)", r)
		}
	}()
	if len(b) > MaxPolicyFile {
		return nil, fmt.Errorf("%d bytes, at most %d are read", len(b), MaxPolicyFile)
	}
	file, err := parser.ParseBytes(b, 0)
	if err != nil {
		return nil, atLine(err)
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, fmt.Errorf("it holds %d documents, one is read: `policies:` with a policy below it", len(file.Docs))
	}
	body := file.Docs[0].Body
	if err := refuseOdd(body); err != nil {
		return nil, err
	}
	var doc struct {
		Policies map[string]PolicyText `yaml:"policies"`
	}
	if err := yaml.NodeToValue(body, &doc, yaml.Strict()); err != nil {
		return nil, atLine(err)
	}
	if doc.Policies == nil {
		return nil, errors.New("line 1: key policies is missing")
	}
	var errs []error
	for name, text := range doc.Policies {
		p, err := text.Policy(name)
		errs = append(errs, namingLines(body, name, err)...)
		policies = append(policies, p)
	}
	slices.SortFunc(policies, func(a, b blockstore.Policy) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return policies, errors.Join(errs...)
}

// refuseOdd keeps files from being larger than they look (aliases), and from being
// what they do not look like (tags).
func refuseOdd(n ast.Node) error {
	var found ast.Node
	ast.Walk(visit(func(n ast.Node) {
		switch n.Type() {
		case ast.AliasType, ast.AnchorType, ast.MergeKeyType, ast.TagType:
			found = n
		}
	}), n)
	if found != nil {
		return fmt.Errorf("line %d: anchors, aliases and tags are not read", found.GetToken().Position.Line)
	}
	return nil
}

type visit func(ast.Node)

// Visit is part of ast.Visitor.
func (v visit) Visit(n ast.Node) ast.Visitor {
	v(n)
	return v
}

// atLine puts the line before an error of the parser.
func atLine(err error) error {
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil {
		return fmt.Errorf("line %d: %s (at %.40q)", at.GetToken().Position.Line, at.GetMessage(), at.GetToken().Value)
	}
	return err
}

// namingLines says on which line each key of a policy stands that is wrong.
func namingLines(body ast.Node, name string, err error) (errs []error) {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{fmt.Errorf("policy %.64q: %w", name, err)}
	}
	for _, err := range joined.Unwrap() {
		line := lineOf(body, "policies", name)
		var key *KeyError
		if errors.As(err, &key) {
			if at := lineOf(body, "policies", name, key.Key); at > 0 {
				line = at
			}
		}
		errs = append(errs, fmt.Errorf("line %d: policy %.64q: %w", line, name, err))
	}
	return errs
}

// lineOf returns the line of a key, below others, 0 where it is not there.
func lineOf(n ast.Node, path ...string) int {
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	}
	for _, v := range values {
		if t := v.Key.GetToken(); t == nil || t.Value != path[0] {
			continue
		}
		if len(path) == 1 {
			return v.Key.GetToken().Position.Line
		}
		return lineOf(v.Value, path[1:]...)
	}
	return 0
}
