package main

import (
	_ "embed"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// The scripts ask the program itself for what fits, through completeWord.
var (
	//go:embed completion/holdfast.bash
	bashScript string
	//go:embed completion/_holdfast
	zshScript string
	//go:embed completion/holdfast.fish
	fishScript string
)

func completionCommand(k *console) *cli.Command {
	scripts := map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}
	return &cli.Command{
		Name:      "completion",
		Usage:     "print what makes a shell complete our words",
		ArgsUsage: "bash|zsh|fish",
		Description: `Prints a script that lets bash, zsh or fish complete commands, flags, and the machines and
points of the vault that --vault or HOLDFAST_VAULT names, or of that of this host's daemon.`,
		UsageText: `holdfast completion bash > /etc/bash_completion.d/holdfast
holdfast completion zsh > "${fpath[1]}/_holdfast"
holdfast completion fish > ~/.config/fish/completions/holdfast.fish`,
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "bash|zsh|fish")
			if err != nil {
				return err
			}
			script, ok := scripts[args[0]]
			if !ok {
				return usagef("no completion for shell %q: choose bash, zsh or fish", args[0])
			}
			_, err = k.out.Write([]byte(script))
			return err
		},
	}
}

// filter keeps the words that begin with prefix, sorted and each once.
func filter(words []string, prefix string) []string {
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return !strings.HasPrefix(w, prefix) })
	slices.Sort(words)
	return slices.Compact(words)
}
