package strict

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// File is one document, or a section of one. It is not safe for concurrent use.
type File struct{ body ast.Node }

// ErrEmpty reports a file in which nothing is said.
var ErrEmpty = errors.New("it is empty")

// Parse reads a document of at most so many bytes. An empty one is an error.
func Parse(b []byte, most int) (f *File, err error) {
	defer orRecover(&err)
	if len(b) > most {
		return nil, fmt.Errorf("%d bytes, at most %d are read", len(b), most)
	}
	file, err := parser.ParseBytes(b, 0)
	if err != nil {
		return nil, atLine(err)
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		if len(file.Docs) > 1 {
			return nil, fmt.Errorf("it holds %d documents (parted by lines of ---): one is read", len(file.Docs))
		}
		return nil, ErrEmpty
	}
	body := file.Docs[0].Body
	return &File{body}, refuseOdd(body)
}

// orRecover makes an error of a panic: the parser has some on what is hardly YAML.
func orRecover(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("it is no YAML that can be read (%.100v)", r)
	}
}

// Decode puts the file into a value. Keys that it has no field for are errors, and so
// are those that stand there twice.
func (f *File) Decode(into any) (err error) {
	defer orRecover(&err)
	return atLine(yaml.NodeToValue(f.body, into, yaml.Strict()))
}

// Take cuts the section of a key out of the file; nil: there is none.
func (f *File) Take(key string) *File {
	m, ok := f.body.(*ast.MappingNode)
	if !ok {
		return nil
	}
	for i, v := range m.Values {
		if t := v.Key.GetToken(); t != nil && t.Value == key {
			m.Values = slices.Delete(m.Values, i, i+1)
			return &File{v.Value}
		}
	}
	return nil
}

// Line returns the line of a key below others, the number of an item of a list being a
// key; the line of the last that is there, where not all are, and 0 where none is.
func (f *File) Line(path ...string) int {
	line, n := 0, f.body
	for _, key := range path {
		at, below := find(n, key)
		if at == 0 {
			break
		}
		line, n = at, below
	}
	return line
}

// find returns the line of a key of a node and what is below it.
func find(n ast.Node, key string) (line int, below ast.Node) {
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	case *ast.SequenceNode:
		if i, err := strconv.Atoi(key); err == nil && i >= 0 && i < len(m.Values) {
			return lineOf(m.Values[i]), m.Values[i]
		}
	}
	for _, v := range values {
		if t := v.Key.GetToken(); t != nil && t.Value == key {
			return t.Position.Line, v.Value
		}
	}
	return 0, nil
}

// lineOf is where a node begins: that of a mapping is the line of its first key.
func lineOf(n ast.Node) int {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
		n = m.Values[0].Key
	}
	if n == nil || n.GetToken() == nil {
		return 0
	}
	return n.GetToken().Position.Line
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

// Start is the line on which the file, or section, begins.
func (f *File) Start() int { return lineOf(f.body) }
