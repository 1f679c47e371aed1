package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ourJob tells whether libvirt runs a backup job of ours on the domain, which nobody but who
// holds mine works on. Another's, or any other job that would not go together with one, is a *BusyError.
func (d *Domain) ourJob(ctx context.Context, mine *folder) (bool, error) {
	out, err := d.virsh(ctx, "backup-dumpxml")
	switch {
	case says(err, "no domain backup job present"):
		return false, d.otherJob(ctx)
	case says(err, "domain is not running"):
		return false, nil
	case err != nil:
		return false, err
	}
	root, err := parseXML(out)
	if err != nil {
		return false, err
	}
	at := madeAt(root)
	switch {
	case at == "":
		return false, &BusyError{Domain: d.name, What: "a backup job of another program"}
	case at != mine.path && held(at):
		return false, &BusyError{Domain: d.name, What: "another backup by Holdfast, whose scratch files are in " + at}
	}
	return true, nil
}

// madeAt is the folder of a backup job all of whose files have names that we give, in a
// folder of such a name; empty: it is not of ours.
func madeAt(root *element) (at string) {
	for _, disk := range root.child("disks").all("disk") {
		for _, e := range append(disk.all("scratch"), disk.all("target")...) {
			folder, name := filepath.Split(filepath.Clean(e.attr("file")))
			folder = filepath.Clean(folder)
			if !strings.HasPrefix(name, ourPrefix) || !strings.HasPrefix(filepath.Base(folder), ourPrefix) || at != "" && at != folder {
				return ""
			}
			at = folder
		}
	}
	return at
}

// held tells whether a run holds the lock of a folder for scratch files.
func held(path string) bool {
	lock, err := os.Open(path)
	if err != nil {
		return false
	}
	defer lock.Close()
	return errors.Is(unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// otherJob is a *BusyError while the domain is being migrated, saved or dumped.
func (d *Domain) otherJob(ctx context.Context) error {
	out, err := d.virsh(ctx, "domjobinfo")
	if says(err, "domain is not running") {
		return nil
	}
	if err != nil {
		return err
	}
	job := map[string]string{}
	for _, line := range strings.Split(out, "\n") {
		name, value, _ := strings.Cut(line, ":")
		job[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	if kind := job["Job type"]; kind == "None" || kind == "" || kind == "Completed" || kind == "Failed" || kind == "Cancelled" {
		return nil
	}
	what := strings.ToLower(job["Operation"])
	if what == "" {
		what = "another job"
	}
	return &BusyError{Domain: d.name, What: "this job of libvirt's: " + what}
}

// abort ends our backup job, if there is one, and waits until it is gone. It goes on looking until
// a moment, should libvirt still be about to begin one; and while libvirt does not answer.
func (d *Domain) abort(ctx context.Context, mine *folder, until time.Time) (aborted bool, err error) {
	for {
		ours, err := d.ourJob(ctx, mine)
		if ours {
			aborted = true
			_, err = d.virsh(ctx, "domjobabort")
			if says(err, "no job is active", "domain is not running") {
				err = nil
			}
		}
		var busy *BusyError
		switch {
		case errors.As(err, &busy) || err == nil && !ours:
			if time.Now().After(until) {
				return aborted, nil // a job of others is theirs
			}
		case err != nil && !unreachable(err) && !says(err, "cannot acquire state change lock"):
			return aborted, fmt.Errorf("end backup job: %w", err)
		}
		select {
		case <-ctx.Done():
			return aborted, fmt.Errorf("end backup job: %w", errors.Join(context.Cause(ctx), err))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// unreachable tells whether libvirt did not answer, as while it is restarted.
func unreachable(err error) bool {
	return says(err, "failed to connect to the hypervisor", "Failed to connect socket", "Cannot recv data", "Cannot write data",
		"End of file while reading data", "client socket is closed", "Disconnected from")
}

// patiently calls ask again while libvirt does not answer, for a while.
func patiently(ctx context.Context, ask func(context.Context) error) error {
	for until := time.Now().Add(30 * time.Second); ; {
		err := ask(ctx)
		if err == nil || !unreachable(err) || time.Now().After(until) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
