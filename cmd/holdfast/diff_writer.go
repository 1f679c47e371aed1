package main

import (
	"bufio"
	"encoding/json"
	"fmt"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// diffWriter prints a diff as it is found, so that it takes no memory: begin, for
// each disk disk, any number of differ, and endDisk, then end. The sum of a
// disk's bytes is known at its end only.
type diffWriter interface {
	begin()
	disk(api.DiskDiff)
	differ(api.Range) error
	endDisk(api.DiskDiff)
	end() error
}

// diffText prints for people.
type diffText struct {
	k      *console
	a, b   blockstore.PointID
	ranges int // of the present disk
}

func (t *diffText) begin() {}

func (t *diffText) disk(d api.DiskDiff) {
	t.ranges = 0
	switch {
	case d.SizeA < 0:
		t.k.printf("disk %s: only in %s, %s\n", d.Name, t.b, formatSize(d.SizeB))
	case d.SizeB < 0:
		t.k.printf("disk %s: only in %s, %s\n", d.Name, t.a, formatSize(d.SizeA))
	case d.SizeA != d.SizeB:
		t.k.printf("disk %s: size changed from %s to %s\n", d.Name, formatSize(d.SizeA), formatSize(d.SizeB))
	}
}

func (t *diffText) differ(r api.Range) error {
	if t.ranges == 0 {
		t.k.printf("%16s  %14s\n", "OFFSET", "LENGTH")
	}
	t.ranges++
	t.k.printf("%16d  %14d  %s\n", r.Offset, r.Length, formatSize(r.Length))
	return nil
}

func (t *diffText) endDisk(d api.DiskDiff) {
	switch {
	case d.SizeA < 0 || d.SizeB < 0:
	case t.ranges == 0:
		t.k.printf("disk %s: no block differs\n", d.Name)
	default:
		t.k.printf("disk %s: %s differ in %s\n", d.Name, formatSize(d.Bytes), count(t.ranges, "range"))
	}
}

func (t *diffText) end() error { return nil }

// diffJSON prints an api.Diff. Errors of writing are the bufio.Writer's: it
// keeps the first one for the end.
type diffJSON struct {
	w             *bufio.Writer
	a, b          blockstore.PointID
	disks, ranges int // so far; ranges of the present disk
}

func (j *diffJSON) begin() {
	fmt.Fprintf(j.w, "{\n  \"a\": %q,\n  \"b\": %q,\n  \"disks\": [", j.a, j.b)
}

func (j *diffJSON) disk(d api.DiskDiff) {
	name, _ := json.Marshal(d.Name) // a string always can
	fmt.Fprintf(j.w, "%s\n    {\n      \"name\": %s,\n      \"size_a\": %d,\n      \"size_b\": %d,\n      \"ranges\": [",
		comma(j.disks), name, d.SizeA, d.SizeB)
	j.disks++
	j.ranges = 0
}

func (j *diffJSON) differ(r api.Range) error {
	_, err := fmt.Fprintf(j.w, "%s\n        {\"offset\": %d, \"length\": %d}", comma(j.ranges), r.Offset, r.Length)
	j.ranges++
	return err
}

func (j *diffJSON) endDisk(d api.DiskDiff) {
	fmt.Fprintf(j.w, "],\n      \"bytes\": %d\n    }", d.Bytes)
}

func (j *diffJSON) end() error {
	fmt.Fprint(j.w, "]\n}\n")
	return j.w.Flush()
}

// comma stands before everything in a list but the first.
func comma(before int) string {
	if before == 0 {
		return ""
	}
	return ","
}
