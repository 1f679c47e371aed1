package service_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func TestOpenFilesThatARequestDoesNotSpeakOfAreClosedAtOnce(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.write(1)
	ctx := api.WithCaller(t.Context(), api.Caller{Name: "ann"})
	disks, two := []string{"vda=" + y.image()}, []string{"vda=" + y.image(), "vdb=/b"}
	for _, row := range []struct {
		name, want  string
		files       int
		disks, open []string
	}{
		{"a file too many", "2 open files came", 2, disks, []string{"vda"}},
		{"a file too few", "0 open files came", 0, disks, []string{"vda"}},
		{"no disk", "which is not named", 1, nil, []string{"vda"}},
		{"another disk", "disk vda has no open file", 1, disks, []string{"vdb"}},
		{"a disk without", "disk vdb has no open file", 1, two, []string{"vda"}},
		{"a disk in pieces", "do not follow each other", 3, two, []string{"vda", "vdb", "vda"}},
		{"a path that is not absolute", "not absolute", 1, []string{"vda=x"}, []string{"vda"}},
		{"a path with an escape", "no text", 1, []string{"vda=/\x1b[2Jx"}, []string{"vda"}},
		{"a path that is no text", "no text", 1, []string{"vda=/\xff"}, []string{"vda"}},
		{"a path that is too long", "too long", 1, []string{"vda=/" + strings.Repeat("x", 5000)}, []string{"vda"}},
		{"a format that is not read", "format", 1, []string{"vda=/x,format=vmdk"}, []string{"vda"}},
	} {
		q := api.JobRequest{Kind: api.JobBackup, Machine: "web1", Backup: &api.BackupOptions{Disks: row.disks, Open: row.open}}
		var files []*os.File
		for range row.files {
			f, err := os.Open(y.image())
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		if len(files) > 0 {
			q.HandOver(api.Hand(files, nil))
		}
		_, err := y.Start(ctx, q)
		var bad *service.Invalid
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", row.name, err)
		}
		for _, f := range files {
			if _, err := f.Stat(); err == nil {
				t.Errorf("%s: a file is left open", row.name)
			}
		}
	}
}

func TestAJobLetsGoOfWhatWasHandedOverHoweverItEnds(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.write(1)
	for machine, state := range map[string]string{"web1": api.JobCompleted, "web2": api.JobFailed} {
		f, err := os.Open(y.image())
		if err != nil {
			t.Fatal(err)
		}
		closed := make(chan bool)
		q := api.JobRequest{Kind: api.JobBackup, Machine: machine, Backup: &api.BackupOptions{Disks: []string{"vda=/called/so"}, Open: []string{"vda"}}}
		if machine == "web2" {
			q.Backup.Disks[0] += ",format=qcow2" // it is not
		}
		q.HandOver(api.Hand([]*os.File{f}, func() { f.Close(); close(closed) }))
		if j := y.run(q, nil); j.State != state {
			t.Errorf("%+v", j)
		}
		<-closed
	}
}
