package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/holdfast-backup/holdfast/integration/bench/memfs"
)

// options are what the command line sets.
type options struct {
	holdfast string
	work     string
	only     string
	rounds   int
	size     int64 // bytes of file content on the disk
	points   int
	scale    int64 // blocks of the large vault
	keep     bool
	json     bool
	disk     bool
	restic   bool
}

// groups are the parts of a run, in their order; --only names some.
var groups = []struct {
	name string
	run  func(*bench, context.Context) error
}{
	{"full", (*bench).fullBackup},
	{"sealed", (*bench).sealedBackup},
	{"second", (*bench).secondDay},
	{"scan", (*bench).noChangeScan},
	{"live", (*bench).running},
	{"freeze", (*bench).frozen},
	{"restore", (*bench).restore},
	{"inplace", (*bench).inPlace},
	{"mount", (*bench).mount},
	{"files", (*bench).guestFiles},
	{"check", (*bench).checkData},
	{"sweep", (*bench).yearSweep},
	{"growth", (*bench).growth},
	{"sparse", (*bench).sparseDisk},
	{"points", (*bench).manyPoints},
	{"size", (*bench).largeVault},
	{"service", (*bench).service},
	{"disk", (*bench).onDisk},
}

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "memfs": // started by measureMount
			exitOn(serveMemory(os.Args[2:]))
			return
		case "hashloop": // started by noChangeScan
			exitOn(hashLoop(os.Args[2:]))
			return
		case "slowfs": // started by latency
			exitOn(serveSlowly(os.Args[2:]))
			return
		case "readloop": // started by checkData
			exitOn(readLoop(os.Args[2:]))
			return
		case "beside": // started by besideSweep
			exitOn(runBeside(os.Args[2:]))
			return
		}
	}
	var o options
	flag.StringVar(&o.holdfast, "holdfast", "bin/holdfast", "the built binary")
	flag.StringVar(&o.work, "work", "", "folder to work in (default: a new one on /dev/shm, or under $TMPDIR)")
	flag.StringVar(&o.only, "only", "", "measure some parts, separated by commas: "+groupNames())
	flag.IntVar(&o.rounds, "rounds", 2, "rounds of each pair; the best of each counts")
	flag.Int64Var(&o.size, "size", 3300, "MiB of file content on the disk")
	flag.IntVar(&o.points, "points", 10000, "recovery points of the vault of many points")
	flag.Int64Var(&o.scale, "scale", 2_000_000, "blocks of the large vault that is made without data; 500000000 needs 60 GB in $TMPDIR and an hour")
	flag.BoolVar(&o.keep, "keep", false, "leave the disk image in the work folder, for the next run with the same --work")
	flag.BoolVar(&o.json, "json", false, "print the figures as JSON on standard output")
	flag.BoolVar(&o.disk, "disk", false, "measure with sync on a real disk as well, last and apart")
	flag.BoolVar(&o.restic, "restic", true, "run restic too, once, for comparison")
	flag.Parse()
	o.size <<= 20

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exitOn(run(ctx, o))
}

func run(ctx context.Context, o options) (err error) {
	only := strings.FieldsFunc(o.only, func(r rune) bool { return r == ',' || r == ' ' })
	for _, name := range only {
		if !slices.Contains(strings.Fields(groupNames()), name) {
			return fmt.Errorf("--only %s: the parts are %s", o.only, groupNames())
		}
	}
	b, err := newBench(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	for _, g := range groups {
		if len(only) > 0 && !slices.Contains(only, g.name) || len(only) == 0 && g.name == "disk" && !o.disk {
			continue
		}
		if err := g.run(b, ctx); err != nil {
			b.say("%s: %v", g.name, err)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			b.failed = append(b.failed, g.name)
		}
	}
	if err := b.table.print(os.Stdout, o.json); err != nil {
		return err
	}
	if len(b.failed) > 0 {
		return fmt.Errorf("could not be measured: %s", strings.Join(b.failed, ", "))
	}
	return nil
}

func groupNames() string {
	var names []string
	for _, g := range groups {
		names = append(names, g.name)
	}
	return strings.Join(names, " ")
}

// bench is one run: where things lie and what was found.
type bench struct {
	options
	log      io.Writer // progress for people
	borgPath string    // "" where a peer is not installed
	restPath string
	qemuPath string
	madeWork bool
	store    string // folder of vaults, repositories and targets
	tmpfs    bool   // store is on tmpfs
	image    string // the disk
	day      int    // the day that the image shows
	patch    *patch
	table    table
	failed   []string
}

func newBench(o options) (*bench, error) {
	b := &bench{options: o, log: os.Stderr, day: 1}
	var err error
	if b.holdfast, err = filepath.Abs(o.holdfast); err != nil {
		return nil, err
	}
	if _, err := os.Stat(b.holdfast); err != nil {
		return nil, fmt.Errorf("the binary to measure: %w (make build makes it)", err)
	}
	for name, to := range map[string]*string{"borg": &b.borgPath, "restic": &b.restPath, "qemu-img": &b.qemuPath} {
		if *to, err = exec.LookPath(name); err != nil {
			b.say("%s is not installed: its figures are left out (integration/install-deps bench)", name)
		}
	}
	if err := b.chooseWork(); err != nil {
		return nil, err
	}
	b.image = filepath.Join(b.work, "disk.raw")
	b.store = filepath.Join(b.work, "store")
	return b, os.MkdirAll(b.store, 0o700)
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.log, format+"\n", args...) }

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// serveMemory is `bench memfs MOUNTPOINT FILE BYTES`.
func serveMemory(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: bench memfs MOUNTPOINT FILE BYTES")
	}
	var size int64
	if _, err := fmt.Sscan(args[2], &size); err != nil {
		return err
	}
	return memfs.Serve(args[0], args[1], size)
}
