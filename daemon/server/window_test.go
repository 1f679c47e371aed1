package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// memfd makes memory of a size.
func memfd(t *testing.T, size int64) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "memory")
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f
}

const shareText = "POST " + base + "/memory HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"

func TestADiskIsReadIntoMemoryThatIsSharedForAsLongAsThatLasts(t *testing.T) {
	t.Parallel()
	needRoot(t)
	st := newSite(t, nil)
	c := dial(t, st.run(t))
	memory := memfd(t, 1<<20)
	dup, err := unix.Dup(int(memory.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	name, release, err := c.ShareMemory(t.Context(), os.NewFile(uintptr(dup), "memory"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.DiskInto(t.Context(), "main", "web1", "latest", "vda", 100, 300_000, name, 4096); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 300_000)
	if _, err := memory.ReadAt(got, 4096); err != nil || !bytes.Equal(got, diskBytes[100:300_100]) {
		t.Errorf("what lies in the memory is something else, %v", err)
	}
	for what, ask := range map[string]func() error{
		"more than fits": func() error { return c.DiskInto(t.Context(), "main", "web1", "latest", "vda", 0, 1<<20, name, 1) },
		"behind the disk": func() error {
			return c.DiskInto(t.Context(), "main", "web1", "latest", "vda", int64(len(diskBytes))-10, 11, name, 0)
		},
		"behind the memory": func() error { return c.DiskInto(t.Context(), "main", "web1", "latest", "vda", 0, 1, name, 1<<20) },
		"before the memory": func() error { return c.DiskInto(t.Context(), "main", "web1", "latest", "vda", 0, 1, name, -1) },
		"another memory": func() error {
			return c.DiskInto(t.Context(), "main", "web1", "latest", "vda", 0, 1, "0123456789abcdef", 0)
		},
		"nothing, and backwards": func() error { return c.DiskInto(t.Context(), "main", "web1", "latest", "vda", 10, 0, name, 0) },
	} {
		if ask() == nil {
			t.Errorf("%s was read", what)
		}
	}
	release()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := c.DiskInto(t.Context(), "main", "web1", "latest", "vda", 0, 1, name, 0)
		if p, ok := err.(*api.Problem); ok && p.Kind == api.KindNoMemory && st.heldOf(0) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after it was released: %v, %d files are held", err, st.heldOf(0))
		}
	}
}

func TestOnlyMemoryOfOnesOwnIsWrittenTo(t *testing.T) {
	t.Parallel()
	needRoot(t)
	st := newSite(t, nil)
	path := st.run(t)
	openUp(t, path)
	for _, uid := range []string{"4242", "4243"} {
		if _, err := st.store.Grant(api.GrantRequest{Who: uid, Role: string(access.Restorer)}, "the test"); err != nil {
			t.Fatal(err)
		}
	}
	mine := connectAs(t, path, 4242, 4242, nil)
	r := bufio.NewReader(mine)
	hand(t, mine, shareText, []int{int(memfd(t, 8192).Fd())})
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v %+v", err, resp)
	}
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Split(line, `"`)[3]
	into := func(uid int) int {
		c := connectAs(t, path, uid, uid, nil)
		defer c.Close()
		hand(t, c, fmt.Sprintf("GET %s/vaults/main/machines/web1/points/latest/disks/vda HTTP/1.1\r\nHost: x\r\nRange: bytes=0-99\r\n%s: %s 0\r\n\r\n", base, api.IntoHeader, name), nil)
		status, _ := answer(t, bufio.NewReader(c))
		return status
	}
	if s := into(4242); s != 204 {
		t.Errorf("one's own memory: %d", s)
	}
	if s := into(4243); s != 410 {
		t.Errorf("the memory of another: %d", s)
	}

	file, err := os.Create(filepath.Join(quickDir(t), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	disk, err := os.Create(filepath.Join("/var/tmp", fmt.Sprintf("holdfast-window-%d", os.Getpid())))
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(disk.Name())
	defer disk.Close()
	if err := disk.Truncate(8192); err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	defer writer.Close()
	for what, files := range map[string][]*os.File{
		"nothing": {}, "an empty file": {file}, "a pipe": {writer}, "too much": {memfd(t, largestWindow+1)}, "no bytes": {memfd(t, 0)},
		"two": {memfd(t, 4096), memfd(t, 4096)}, "a file of a disk": {disk},
	} {
		var fds []int
		for _, f := range files {
			fds = append(fds, int(f.Fd()))
		}
		c := connectAs(t, path, 4242, 4242, nil)
		hand(t, c, shareText, fds)
		if status, body := answer(t, bufio.NewReader(c)); status != 422 {
			if what == "a file of a disk" && status == 200 && onMemory(disk) {
				continue
			}
			t.Errorf("%s: %d %s", what, status, body)
		}
		c.Close()
	}
}

// onMemory tells whether a file's file system is memory.
func onMemory(f *os.File) bool {
	var s unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &s) == nil && s.Type == unix.TMPFS_MAGIC
}

func TestMapsComparisonsAndConfigurationsOfNonsenseAreRefused(t *testing.T) {
	t.Parallel()
	st := newSite(t, func(c *Config) {
		c.CompareDisk = func(_ context.Context, _ string, _, b api.PointRef, _ string, fn func(api.Range) error) error {
			if b.Point != "p0" {
				fn(api.Range{Offset: 0, Length: 65536})
			}
			return &api.Problem{Status: 500, Exit: 4, Kind: "damaged", Detail: "the map is damaged"}
		}
	})
	restorer := st.secret(t, "restorer", "web*")
	at := base + "/vaults/main/machines/web1/points/latest"
	for path, status := range map[string]int{
		"/disks/vda/map?offset=-1": 422, "/disks/vda/map?offset=x": 422, "/disks/vda/map?offset=99999999999999999999": 422, "/disks/a%2fb/map": 422,
		"/disks/vda/diff": 422, "/disks/vda/diff?machine=web1": 422, "/disks/vda/diff?machine=../x&point=p1": 422, "/disks/vda/diff?machine=db1&point=p1": 403,
		"/disks/vda/diff?machine=web2&point=p0": 500, "/config/..%2f..%2fetc": 422, "/config/a%00": 422, "/disks/vda/map?most=5": 422,
	} {
		if w := st.ask(restorer, "GET", at+path, ""); w.Code != status {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	w := st.ask(restorer, "GET", at+"/disks/vda/diff?machine=web2&point=p1", "")
	if want := "{\"offset\":0,\"length\":65536}\n"; w.Code != 200 || !strings.HasPrefix(w.Body.String(), want) || !strings.Contains(w.Body.String(), `"problem":{`) || strings.Contains(w.Body.String(), `"end"`) {
		t.Errorf("a comparison that breaks off: %d %s", w.Code, w.Body)
	}
}

func TestWhatAClientSaysThatItReadsForIsNotedButNotWithoutBounds(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	secret := st.secret(t, "restorer")
	read := func(header string) {
		r, _ := http.NewRequest("GET", base+"/vaults/main/machines/web1/points/latest/disks/vda", nil)
		r.RemoteAddr = net.JoinHostPort("198.51.100.9", "1")
		r.Header.Set("Authorization", "Bearer "+secret)
		r.Header.Set("Range", "bytes=0-9")
		r.Header.Set(api.PurposeHeader, header)
		if w := st.send(r); w.Code != 206 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	read("cat%20web1@latest:%2Fetc%2Fsh%C3%A4dow")
	read("cat%20web1@latest:%2Fetc%2Fsh%C3%A4dow")
	read("a%0A%1B[31mfake%20line%FF" + strings.Repeat("x", 5000))
	read("%zz")
	e := st.entries(t)
	if len(e) != 3 {
		t.Fatalf("%+v", e)
	}
	said := map[string]bool{}
	for _, one := range e {
		said[one.Said] = true
		if len(one.Said) > 320 || strings.ContainsAny(one.Said, "\n\x1b") {
			t.Errorf("%q", one.Said)
		}
	}
	if !said["cat web1@latest:/etc/shädow"] || !said[""] {
		t.Errorf("%v", said)
	}
	for i := range 200 {
		read(fmt.Sprint("purpose%20", i))
	}
	if n := len(st.entries(t)); n > mostPurposes {
		t.Errorf("one who says something else each time wrote %d lines", n)
	}
}
