package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// sizeSteps are the steps of the measurement of size in their order, each a
// process of its own; blockstore's tests hold them.
var sizeSteps = []string{"make", "points", "first", "lookup", "sweep", "index", "backup"}

// sizeTargets are what is asked for of a figure, by the beginning of its name.
var sizeTargets = map[string]target{
	"open and list":                atMost(5),
	"first block":                  atMost(10),
	"memory after opening":         atMost(64),
	"look-up in one":               atMost(2),
	"look-up in all segments warm": atMost(10),
	"index, a key":                 atMost(80),
	"index made":                   atLeast(50_000),
	"index, RssAnon":               atMost(512),
	"backup, RssAnon":              atMost(256),
}

// largeVault makes a vault of --scale blocks without their data, and measures
// what it costs to open, list, look up in, read from, sweep, index again and
// back up into.
func (b *bench) largeVault(ctx context.Context) error {
	group := fmt.Sprintf("%d million blocks", b.scale/1e6)
	program := filepath.Join(b.work, "size.test")
	if _, err := measure(ctx, command{args: []string{"go", "test", "-c", "-o", program, "./blockstore"}}); err != nil {
		return err
	}
	dir := filepath.Join(b.sizeFolder(), "holdfast-size")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	env := []string{
		"HOLDFAST_SIZE_DIR=" + dir, fmt.Sprintf("HOLDFAST_SIZE_BLOCKS=%d", b.scale),
		// A point for every 7,000 blocks: 73,000 of 500 million.
		fmt.Sprintf("HOLDFAST_SIZE_DAYS=%d", max(2, b.scale/200/7000)), fmt.Sprintf("HOLDFAST_SIZE_GIB=%d", max(1, min(64, b.scale>>20))),
	}
	for _, step := range sizeSteps {
		b.say("size: %s", step)
		c := command{args: []string{program, "-test.timeout", "0", "-test.run", "^TestSizeStep$"}, env: append(env, "HOLDFAST_SIZE_STEP="+step)}
		_, out, err := measureOutput(ctx, c)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		if err := b.sizeFigures(group, out); err != nil {
			return err
		}
	}
	return os.Remove(program)
}

// sizeFolder is where the large vault is made: the work folder where it fits,
// which is memory most often.
func (b *bench) sizeFolder() string {
	if b.scale <= 10e6 {
		return b.store
	}
	return os.TempDir()
}

// sizeFigures takes figures from lines "figure: name|unit|value", and shows the
// others.
func (b *bench) sizeFigures(group string, out []byte) error {
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		figure, ok := strings.CutPrefix(lines.Text(), "figure: ")
		if !ok {
			if strings.HasPrefix(lines.Text(), "size: ") {
				b.say("%s", lines.Text())
			}
			continue
		}
		parts := strings.Split(figure, "|")
		if len(parts) != 3 {
			return fmt.Errorf("a figure that is none: %q", figure)
		}
		value, err := strconv.ParseFloat(parts[2], 64)
		if err != nil {
			return err
		}
		goal := noTarget
		for name, t := range sizeTargets {
			if strings.HasPrefix(parts[0], name) {
				goal = t
			}
		}
		b.table.alone(group, parts[0], parts[1], value, goal)
	}
	return lines.Err()
}
