package history

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPatchMakesTheSecondTextOfTheFirst has patch(1) apply what unified says, of random
// texts of few different lines.
func TestPatchMakesTheSecondTextOfTheFirst(t *testing.T) {
	t.Parallel()
	needTool(t, "patch")
	r := rand.New(rand.NewPCG(7, 7))
	dir := scratch(t)
	for n := range 60 {
		a := randomText(r, r.IntN(60))
		b := a
		if r.IntN(4) == 0 {
			b = randomText(r, r.IntN(60))
		}
		for range r.IntN(6) {
			lines := strings.SplitAfter(b, "\n")
			i := r.IntN(len(lines))
			lines[i] = randomText(r, r.IntN(4))
			b = strings.Join(lines, "")
		}
		if a == b || a == "" || b == "" {
			continue
		}
		from := filepath.Join(dir, fmt.Sprint(n))
		if err := writeFile(from, []byte(a)); err != nil {
			t.Fatal(err)
		}
		text := unified("a", "b", []byte(a), []byte(b))
		out := sh(t, text, `patch -s --posix --no-backup-if-mismatch "$1" 2>&1`, from)
		if got, err := os.ReadFile(from); err != nil || string(got) != b || strings.Contains(out, "fuzz") {
			t.Fatalf("patch makes\n%s\nof\n%s\nby\n%s\nwhere it should be\n%s\n%s %v", got, a, text, b, out, err)
		}
	}
}

func randomText(r *rand.Rand, lines int) string {
	var b strings.Builder
	for range lines {
		fmt.Fprintf(&b, "line %d\n", r.IntN(9))
	}
	if lines > 0 && r.IntN(5) == 0 {
		b.WriteString("no end")
	}
	return b.String()
}

func TestAComparisonIsAsDiffWritesIt(t *testing.T) {
	t.Parallel()
	var a, b strings.Builder
	for i := range 30 {
		fmt.Fprintf(&a, "%d\n", i)
		switch i {
		case 3:
		case 8:
			b.WriteString("eight\n")
		case 25:
			b.WriteString("25\nnew\n")
		default:
			fmt.Fprintf(&b, "%d\n", i)
		}
	}
	want := "--- x\n+++ y\n@@ -1,12 +1,11 @@\n 0\n 1\n 2\n-3\n 4\n 5\n 6\n 7\n-8\n+eight\n 9\n 10\n 11\n@@ -24,6 +23,7 @@\n 23\n 24\n 25\n+new\n 26\n 27\n 28\n"
	if got := unified("x", "y", []byte(a.String()), []byte(b.String())); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTextsThatDifferInVeryMuchAreOnePiece(t *testing.T) {
	t.Parallel()
	var a, b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&a, "a%d\n", i)
		fmt.Fprintf(&b, "b%d\n", i)
	}
	if got := unified("x", "y", []byte(a.String()), []byte(b.String())); !strings.Contains(got, "@@ -1,5000 +1,5000 @@") {
		t.Errorf("%.100s", got)
	}
}
