package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// What a client sends is described by the OpenAPI document alone.
var isAsked = regexp.MustCompile(`(Request|Options|Query|Spec)$|^(PointChange|Scratch)$`)

func TestEveryFieldOfWhatIsPrintedAsJSONIsDescribed(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("JSON.md")
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	for _, code := range regexp.MustCompile("`[^`]*`").FindAllString(string(text), -1) {
		for _, word := range regexp.MustCompile(`[a-z][a-z_0-9]*`).FindAllString(code, -1) {
			described[word] = true
		}
	}
	files, err := filepath.Glob(filepath.Join("..", "..", "daemon", "api", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	fields := 0
	look := func(n ast.Node) bool {
		named, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		made, ok := named.Type.(*ast.StructType)
		if !ok || isAsked.MatchString(named.Name.Name) {
			return false
		}
		for _, f := range made.Fields.List {
			if f.Tag == nil {
				continue
			}
			name, _, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("json"), ",")
			if fields++; name != "" && name != "-" && !described[name] {
				t.Errorf("%s of %s is not in JSON.md", name, named.Name.Name)
			}
		}
		return false
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, look)
	}
	if fields < 300 {
		t.Errorf("only %d fields were found", fields)
	}
}
