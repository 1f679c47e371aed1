package main

import (
	"cmp"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// version is set when a release is built: -ldflags "-X main.version=1.2.3".
var version = "dev"

func versionCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "version",
		Usage:       "say which version this is",
		Description: "Prints the version of the program, the revision of its source and what it was built with.",
		UsageText:   "holdfast version --json",
		Flags:       []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			if _, err := takeArgs(c); err != nil {
				return err
			}
			v := thisVersion()
			if c.Bool("json") {
				return k.json(v)
			}
			revision := ""
			if v.Revision != "" {
				revision = ", revision " + v.Revision
			}
			if v.Modified {
				revision += " with changes"
			}
			k.printf("holdfast %s%s, %s, %s\n", v.Version, revision, v.Go, v.Platform)
			return nil
		},
	}
}

// thisVersion is what was set at the build, else what Go noted then.
func thisVersion() api.Version {
	v := api.Version{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if v.Version == "dev" && info.Main.Version != "(devel)" {
		v.Version = cmp.Or(info.Main.Version, v.Version)
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

// toolName is what points record as the program that made them.
func toolName() string { return "holdfast " + thisVersion().Version }
