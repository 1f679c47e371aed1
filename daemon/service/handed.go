package service

import (
	"os"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/backup"
)

// longestSaid bounds what a client calls an image, in bytes.
const longestSaid = 4096

// checkHanded refuses a request whose open files are not those that it speaks of. Each disk has
// some, those of a disk follow each other.
func checkHanded(q *api.JobRequest) error {
	came, named := 0, []string(nil)
	if h := q.Handed(); h != nil {
		came = len(h.Files)
	}
	if q.Backup != nil {
		named = q.Backup.Open
	}
	switch {
	case came != len(named):
		return invalidf("%s came with the request, and it speaks of %d", Count(came, "open file"), len(named))
	case len(named) == 0:
		return nil
	case len(named) > api.MostHanded:
		return invalidf("%d open files are too many: at most %d come with a request", len(named), api.MostHanded)
	}
	disks, err := parseDisks(q.Backup.Disks, false)
	if err != nil {
		return err
	}
	for _, value := range q.Backup.Disks {
		if len(value) > longestSaid || !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
			return invalidf("--disk %.80q: too long, or no text", value)
		}
		if _, said, _ := strings.Cut(value, "="); !path.IsAbs(said) {
			return invalidf("--disk %.80q: its path is not absolute", value)
		}
	}
	for _, d := range disks {
		if !slices.Contains(named, d.Name) {
			return invalidf("disk %s has no open file, and others have", d.Name)
		}
	}
	runs := slices.Compact(slices.Clone(named))
	for i, name := range runs {
		known := slices.ContainsFunc(disks, func(d backup.Disk) bool { return d.Name == name })
		if !known || slices.Contains(runs[:i], name) {
			return invalidf("an open file is said to be of disk %.40q, which is not named, or whose files do not follow each other", name)
		}
	}
	return nil
}

// handedDisks are the disks of a request whose open files came with it.
func handedDisks(values, open []string, files []*os.File, allowInUse bool) (disks []backup.Disk, err error) {
	for _, value := range values {
		name, spec, _ := strings.Cut(value, "=")
		var own []*os.File
		for i, of := range open {
			if of == name {
				own = append(own, files[i])
			}
		}
		d, err := backup.ParseHanded(name, spec, allowInUse, own)
		if err != nil {
			return nil, invalidf("--disk %s: %v", name, err)
		}
		disks = append(disks, d)
	}
	return disks, nil
}

// notOfProtected refuses to add to the points of a protected machine what was read elsewhere than where its
// record says: whoever relies on them would not expect that.
func notOfProtected(machine string) error {
	return &NotAllowed{"machine " + machine + " is protected: its points are read from the disks that its record names, not from files that a client opens",
		"`holdfast backup " + machine + "` without --disk; or another name for the machine"}
}
