package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

func TestTabOffersWhatCanComeNext(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"va":                        "vault",
		"vault |":                   "copy create hold-sweep info key rebuild-index salvage takeover trust-clock upgrade",
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
		"grant anna |":              "admin operator restorer viewer",
		"grant |":                   "",
		"revoke anna op":            "operator",
		"token create x --role r":   "restorer",
		"jobs --state f":            "failed",
		"jobs --kind=ca":            "--kind=catalogue",
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
	bash := needs.Tool(t, "bash")
	dir := t.TempDir()
	// A stand-in for the program, which answers for a vault with one machine.
	stub := `#!/bin/sh
for last; do :; done
[ "$1" = __complete ] || { echo "$last" > ${0%/*}/asked; exit; }
case $last in
--x=web1@la*) echo --x=web1@latest;;
*@l*) echo web1@latest;;
*@2*) echo web1@2026-11-22T22-00-05Z;;
*) echo web1@;;
esac
`
	// Written by another process: a file that a fork of ours holds open for writing cannot be run.
	write := exec.Command("sh", "-c", `cat >"$0" && chmod +x "$0"`, dir+"/holdfast")
	write.Stdin = strings.NewReader(stub)
	if err := write.Run(); err != nil {
		t.Fatal(err)
	}
	rc := bashScript + "\nPATH=" + dir + ":$PATH\nPS1=\nbind 'set bell-style none' 'set enable-bracketed-paste off'\n"
	if err := os.WriteFile(dir+"/rc", []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	script := needs.Tool(t, "script") // gives Readline the terminal that it wants
	for typed, want := range map[string]string{
		"web1@la\t":     "web1@latest",
		"web1@2026\t":   "web1@2026-11-22T22-00-05Z",
		"we\tla\t":      "web1@latest",
		"--x=web1@la\t": "--x=web1@latest",
		"x\x15COMP_WORDBREAKS=' '\nholdfast web1@latest\t": "web1@latest",
	} {
		cmd := exec.Command(script, "-qec", bash+" --noprofile --rcfile "+dir+"/rc -i", "/dev/null")
		cmd.Stdin = strings.NewReader("holdfast point show " + typed + "\nexit\n")
		out, err := cmd.CombinedOutput()
		asked, read := os.ReadFile(dir + "/asked")
		if read != nil || strings.TrimSpace(string(asked)) != want {
			t.Errorf("%q becomes %q, want %q (%v, %v): %s", typed, asked, want, read, err, out)
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
