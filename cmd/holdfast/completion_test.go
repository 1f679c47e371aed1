package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestTabOffersWhatCanComeNext(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"va":                        "vault",
		"vault |":                   "copy create hold-sweep info key rebuild-index salvage takeover trust-clock",
		"--vault /x poi":            "point points",
		"--vault |":                 "",
		"backup web1 --no":          "--no-wait",
		"restore x@latest --format": "--format",
		"restore --format |":        "qcow2 raw",
		"restore --format=q":        "--format=qcow2",
		"completion |":              "bash fish zsh",
		"completion bash |":         "",
		"points -- --":              "",
		"mount |":                   "",
		"frobnicate --xyz |":        "",
	} {
		words := strings.Fields(line)
		if n := len(words) - 1; words[n] == "|" {
			words[n] = ""
		}
		o := newShell(t).must(exitDone, append([]string{completeWord}, words...)...)
		if got := strings.Join(strings.Fields(o.out), " "); line != "frobnicate --xyz |" && got != want {
			t.Errorf("%q offers %q, want %q", line, got, want)
		}
	}
}

func TestBashCompletesWordsThatHoldAtSigns(t *testing.T) {
	t.Parallel()
	bash := need(t, "bash")
	dir := t.TempDir()
	// A stand-in for the program, which answers for a vault with one machine.
	stub := "#!/bin/sh\n[ \"$1\" = __complete ] || exit 1\nfor last; do :; done\ncase $last in\n*@*) echo web1@latest; echo web1@2026-11-22T22-00-05Z;;\n*) echo web1@;;\nesac\n"
	if err := os.WriteFile(dir+"/holdfast", []byte(stub), 0o755); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"holdfast point show we":      "web1@",
		"holdfast point show web1@":   "latest 2026-11-22T22-00-05Z",
		"holdfast point show web1@la": "latest 2026-11-22T22-00-05Z",
	} {
		script := bashScript + "\ncompopt() { :; }\nCOMP_LINE='" + line + "'\nCOMP_POINT=${#COMP_LINE}\n_holdfast\necho \"${COMPREPLY[*]}\"\n"
		cmd := exec.Command(bash, "--norc", "-c", script)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%q offers %q, %v; want %q", line, out, err, want)
		}
	}
}

func TestEveryShellAcceptsItsScript(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			o := newShell(t).must(exitDone, "completion", shell)
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skipf("%s is not installed: its script was not tried", shell)
			}
			file := t.TempDir() + "/script"
			if err := os.WriteFile(file, []byte(o.out), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(path, "-n", file).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// need returns the path of a tool, and skips the test where there is none.
func need(t *testing.T, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil && os.Getenv("HOLDFAST_CI") == "1" {
		t.Fatalf("%s is not installed", tool)
	}
	if err != nil {
		t.Skipf("%s is not installed", tool)
	}
	return path
}
