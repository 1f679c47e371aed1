package service_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// shell runs a script in the yard's folder.
func (y *yard) shell(script string) {
	y.t.Helper()
	if out, err := exec.CommandContext(y.t.Context(), "sh", "-ec", "PATH=$PATH:/usr/sbin:/sbin; cd "+y.dir+"\n"+script).CombinedOutput(); err != nil {
		y.t.Fatalf("%v: %s", err, out)
	}
}

// put writes files below the yard's folder.
func (y *yard) put(files map[string]string) {
	y.t.Helper()
	for name, content := range files {
		name = filepath.Join(y.dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			y.t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			y.t.Fatal(err)
		}
	}
}

// backupOf backs up images of a machine.
func (y *yard) backupOf(machine string, disks ...string) api.Point {
	y.t.Helper()
	var o api.BackupOptions
	for _, d := range disks {
		o.Disks = append(o.Disks, d+"="+filepath.Join(y.dir, d)+",format=raw")
	}
	var b api.Backup
	if j := y.run(api.JobRequest{Kind: api.JobBackup, Machine: machine, Backup: &o}, &b); j.State != api.JobCompleted {
		y.t.Fatalf("the backup ended as %+v, %+v", j, j.Error)
	}
	return b.Point
}

// linuxGuest backs up a guest whose root is on vda and whose /var is on vdb; another of its disks no point holds.
func linuxGuest(t *testing.T) (*yard, api.GuestAt) {
	t.Helper()
	needs.Tools(t, "mke2fs")
	y := newYard(t)
	y.put(map[string]string{
		"root/etc/fstab":  "UUID=11111111-2222-3333-4444-555555555555 / ext4 d 0 1\n/dev/vdb /var ext4 d\n/dev/vdc1 /gone ext4 nofail\n",
		"root/etc/passwd": "root:x:0\n", "root/home/ann/big": strings.Repeat("0123456789abcdef", 40_000), "root/home/ann/caf\xe9": "latin",
		"root/var/hidden": "", "root/gone/hidden": "", "var/log/syslog": "line 1\n",
	})
	for name, to := range map[string]string{"root/home/ann/log": "/var/log", "root/home/ann/up": "../../../../../../etc/passwd", "root/home/ann/self": "self"} {
		if err := os.Symlink(to, filepath.Join(y.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	y.shell("mke2fs -q -t ext4 -U 11111111-2222-3333-4444-555555555555 -d root vda 16M; mke2fs -q -t ext4 -d var vdb 8M")
	p := y.backupOf("web1", "vda", "vdb")
	return y, api.GuestAt{PointRef: api.PointRef{Machine: "web1", Point: p.ID}}
}

func at(a api.GuestAt, path string) api.GuestAt {
	if volume, rest, ok := strings.Cut(path, ":"); ok {
		a.Volume, path = volume, rest
	}
	a.Path = path
	return a
}

func names(list []api.GuestFile) []string {
	all := []string{}
	for _, f := range list {
		all = append(all, f.Name)
	}
	return all
}

func TestAGuestsFilesAreListedAsTheGuestHasThem(t *testing.T) {
	t.Parallel()
	y, web1 := linuxGuest(t)
	v, err := y.GuestVolumes(t.Context(), web1)
	if err != nil || v.Point != web1.Point || len(v.Volumes) != 2 || !slices.Equal(v.Volumes[1].MountedAt, []string{"/var"}) {
		t.Fatalf("volumes are %+v, %v", v, err)
	}
	for path, want := range map[string]string{
		"": "etc gone home lost+found var", "/home/ann": "big caf� log self up", "/home/ann/log": "syslog", "vda:/var": "hidden", "vdb:": "log lost+found", "home//ann/../../etc/.": "fstab passwd",
		"/../../..": "etc gone home lost+found var",
	} {
		l, err := y.GuestFolder(t.Context(), at(web1, path), api.FolderPage{})
		if got := strings.Join(names(l.Entries), " "); err != nil || got != want || l.Next != "" || l.Error != "" {
			t.Errorf("%s holds %s, %v", path, got, err)
		}
	}
	l, _ := y.GuestFolder(t.Context(), at(web1, "/home/ann"), api.FolderPage{})
	if e := l.Entries[1]; e.PathEscaped != "/home/ann/caf%E9" || l.Folder.Path != "/home/ann" || l.Entries[2].Target != "/var/log" {
		t.Errorf("the folder is %+v", l)
	}
	if f, err := y.GuestFile(t.Context(), at(web1, "/home/ann/caf\xe9")); err != nil || f.Size != 5 || f.Volume != "vda" || f.Type != "file" {
		t.Errorf("a name that is no UTF-8: %+v, %v", f, err)
	}
	if f, err := y.GuestFile(t.Context(), at(web1, "/home/ann/up")); err != nil || f.Path != "/etc/passwd" {
		t.Errorf("a link out of the guest: %+v, %v", f, err)
	}
	link := at(web1, "/home/ann/up")
	link.NoFollow = true
	if f, err := y.GuestFile(t.Context(), link); err != nil || f.Type != "link" {
		t.Errorf("the link itself: %+v, %v", f, err)
	}
	for path, kind := range map[string]string{
		"/nothing": "no-such-file", "/etc/passwd/x": "not-a-folder", "/gone": "not-in-point", "vdc1:/": "volume-not-found", "/home/ann/self": "too-many-links",
		"/etc\x00/passwd": "invalid", strings.Repeat("/a", 8000): "no-such-file", "/etc/passwd": "not-a-folder", "..:": "volume-not-found",
	} {
		if _, err := y.GuestFolder(t.Context(), at(web1, path), api.FolderPage{}); err == nil || service.Explain(err).Kind != kind {
			t.Errorf("%.40q: %+v, not %s", path, service.Explain(err), kind)
		}
	}
}

func TestALargeFolderIsListedPageByPageEachEntryOnce(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "mksquashfs")
	y := newYard(t)
	const files = 100_000
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-files-")
	if err != nil {
		t.Skipf("no memory for %d files: %v", files, err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var want []string
	for i := range files {
		name := fmt.Sprintf("%d-%s", i, strings.Repeat("x", i%20))
		want = append(want, name)
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	slices.Sort(want)
	y.shell("mksquashfs " + dir + " vda -quiet -no-progress -noappend")
	p := y.backupOf("web1", "vda")
	here := api.GuestAt{PointRef: api.PointRef{Machine: "web1", Point: p.ID}, Volume: "vda"}
	var got []string
	for page := (api.FolderPage{Limit: 10_000}); ; {
		l, err := y.GuestFolder(t.Context(), here, page)
		if err != nil || l.Error != "" || len(l.Entries) > 10_000 {
			t.Fatal(len(l.Entries), l.Error, err)
		}
		got = append(got, names(l.Entries)...)
		if page.After = l.Next; l.Next == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d entries came, %d are there", len(got), len(want))
	}
	l, err := y.GuestFolder(t.Context(), here, api.FolderPage{Limit: 3})
	if err != nil || len(l.Entries) != 3 {
		t.Fatal(l, err)
	}
	for _, after := range []string{"x", "p1.2", l.Next + "%", "p0000000000000000.1.a", strings.Replace(l.Next, ".", ".99999999999999999999", 1)} {
		if _, err := y.GuestFolder(t.Context(), here, api.FolderPage{After: after}); err == nil || service.Explain(err).Exit != 2 {
			t.Errorf("after %q: %v", after, err)
		}
	}
}
