package service

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheREADMESaysWhatToDoAboutEachKindOfProblem holds its table and the kinds of Explain
// together, both ways.
func TestTheREADMESaysWhatToDoAboutEachKindOfProblem(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("explain.go")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for _, m := range regexp.MustCompile(`return "([a-z-]+)", exit`).FindAllStringSubmatch(string(source), -1) {
		kinds[m[1]] = true
	}
	if len(kinds) < 30 {
		t.Fatalf("only %d kinds are found in explain.go", len(kinds))
	}
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(readme), "\n### When something fails\n")
	if !found {
		t.Fatal("the README has no section on what to do when something fails")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| (`[^|]*`) \\|[^|]+\\|[^|]+\\|$").FindAllStringSubmatch(section, -1) {
		for _, kind := range strings.Split(m[1], ", ") {
			kind = strings.Trim(kind, "`")
			if listed[kind] = true; !kinds[kind] {
				t.Errorf("the README knows %s, Explain does not", kind)
			}
		}
	}
	for kind := range kinds {
		if !listed[kind] {
			t.Errorf("Explain knows %s, the README does not", kind)
		}
	}
}
