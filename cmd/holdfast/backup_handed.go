package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/quiesce/image"
)

// mayNamePaths tells whether the daemon at a socket opens what this user names: it does for root
// and for its own user. For others it reads what they open.
func mayNamePaths(socket string) bool {
	me := os.Geteuid()
	st, err := os.Stat(socket)
	return me == 0 || err == nil && int(st.Sys().(*syscall.Stat_t).Uid) == me
}

// handOver opens the images of a backup, with their backing files, with this user's rights, and has them go to
// the daemon with the request. Their paths go as what they are called.
func handOver(q *api.JobRequest) (err error) {
	var files []*os.File
	defer func() {
		if err != nil {
			api.Hand(files, nil).Close()
		}
	}()
	b := q.Backup
	for i, value := range b.Disks {
		name, text, _ := strings.Cut(value, "=")
		spec, err := image.ParseSpec(text)
		if err != nil {
			return usagef("--disk %s: %v", name, err)
		}
		opened, err := image.Files(spec)
		if err != nil {
			return fmt.Errorf("back up %s: disk %s: %w", q.Machine, name, err)
		}
		files = append(files, opened...)
		for range opened {
			b.Open = append(b.Open, name)
		}
		if len(files) > api.MostHanded {
			return fmt.Errorf("back up %s: its disks consist of more than %d files, and no more go to the daemon at a time: have an admin protect the machine, or back it up as root", q.Machine, api.MostHanded)
		}
		b.Disks[i] = writeDisk(name, image.Spec{Path: spec.Path, Format: spec.Format})
	}
	q.HandOver(api.Hand(files, nil))
	return nil
}
