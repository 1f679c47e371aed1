package service

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// TestTheREADMESaysWhatToDoAboutEachKindOfProblem holds its table and the kinds of Explain
// together, both ways.
func TestTheREADMESaysWhatToDoAboutEachKindOfProblem(t *testing.T) {
	t.Parallel()
	exits := map[string]int{"Failed": exitFailed, "Usage": exitUsage, "Damaged": exitDamaged, "Busy": exitBusy, "NotFound": exitNotFound, "Full": exitFull,
		"Refused": exitRefused, "Interrupted": exitInterrupted}
	kinds := map[string]int{KindInUse: exitBusy}
	for _, file := range []string{"explain.go", "explain_files.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`return "([a-z-]+)", exit([A-Za-z]+)`).FindAllStringSubmatch(strings.ReplaceAll(string(source), "api.KindMachineHeld", strconv.Quote(api.KindMachineHeld)), -1) {
			if kinds[m[1]] = exits[m[2]]; kinds[m[1]] == 0 {
				t.Errorf("exit code exit%s is not known here", m[2])
			}
		}
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
	for _, m := range regexp.MustCompile("(?m)^\\| (`[^|]*`) \\| ([0-9, ]+) \\|[^|]+\\|[^|]+\\|$").FindAllStringSubmatch(section, -1) {
		for _, kind := range strings.Split(m[1], ", ") {
			kind = strings.Trim(kind, "`")
			if listed[kind] = true; kinds[kind] == 0 {
				t.Errorf("the README knows %s, Explain does not", kind)
			} else if !slices.Contains(strings.Split(m[2], ", "), strconv.Itoa(kinds[kind])) {
				t.Errorf("%s ends with %d, and the README says %s", kind, kinds[kind], m[2])
			}
		}
	}
	for kind := range kinds {
		if !listed[kind] {
			t.Errorf("Explain knows %s, the README does not", kind)
		}
	}
}
