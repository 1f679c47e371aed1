package main

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// pages are the manual's, by name.
func pages(t *testing.T) map[string]string {
	t.Helper()
	s := newShell(t)
	return map[string]string{
		"holdfast(1)":      s.must(exitDone, "man").out,
		"holdfast.yaml(5)": s.must(exitDone, "man", "../../integration/package/config.yaml").out,
	}
}

func TestTheManualHasEveryCommandAndFlag(t *testing.T) {
	t.Parallel()
	text := strings.NewReplacer(`\-`, "-", `\(aq`, "'").Replace(pages(t)["holdfast(1)"])
	app := newApp(&console{})
	for _, c := range leaves(app.Commands) {
		if c.Hidden {
			continue
		}
		if !regexp.MustCompile(`(?m)^\.SS "holdfast ([a-z-]+ )*` + c.Name + `[ "]`).MatchString(text) {
			t.Errorf("%s is missing", c.Name)
		}
		for _, f := range c.Flags {
			if !strings.Contains(text, "--"+f.Names()[0]) {
				t.Errorf("%s --%s is missing", c.Name, f.Names()[0])
			}
		}
	}
	if strings.Contains(text, "holdfast man") && strings.Contains(text, `.SS "holdfast man`) {
		t.Error("what makes the manual is in it")
	}
}

func TestTheManualSaysNothingThatRoffTakesForItsOwn(t *testing.T) {
	t.Parallel()
	macros := regexp.MustCompile(`^\.(TH|SH|SS|PP|TP|nf|fi|nh|ad l|in [+-]4|sp|\\")`)
	for name, text := range pages(t) {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, ".") && !macros.MatchString(line) || strings.HasPrefix(line, "'") {
				t.Errorf("%s: %q", name, line)
			}
		}
	}
	if got, want := literal(".'a-b\\c`"), `\&.\(aqa\-b\ec\(ga`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestTheManualIsTypesetWithoutAWarning(t *testing.T) {
	t.Parallel()
	groff := needs.Tool(t, "groff")
	for name, text := range pages(t) {
		cmd := exec.CommandContext(t.Context(), groff, "-man", "-Tutf8", "-ww", "-z")
		cmd.Stdin = strings.NewReader(text)
		if said, err := cmd.CombinedOutput(); err != nil || len(said) > 0 {
			t.Errorf("%s: %v: %s", name, err, said)
		}
	}
}
