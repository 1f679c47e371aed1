package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// keeper is a fake that reads what is handed over, and keeps it until the test lets go.
type keeper struct {
	*fake
	keeps []*api.Handed
}

func (k *keeper) Start(_ context.Context, r api.JobRequest) (api.Job, error) {
	h := r.Handed()
	j := fakeJob("web1")
	if h == nil {
		return j, nil
	}
	for _, f := range h.Files {
		b := make([]byte, 16)
		n, _ := f.ReadAt(b, 0)
		j.Notes = append(j.Notes, string(b[:n]))
	}
	if len(h.Files) != len(r.Backup.Open) {
		h.Close()
		return j, &api.Problem{Exit: 2, Detail: fmt.Sprintf("%d files for %d", len(h.Files), len(r.Backup.Open))}
	}
	k.keeps = append(k.keeps, h)
	return j, nil
}

// openStation is a server whose peers of number 4242 may back up.
func openStation(t *testing.T, files int) (*site, *keeper, string) {
	t.Helper()
	needRoot(t)
	k := &keeper{}
	st := newSite(t, func(c *Config) {
		k.fake = c.Operations.(*fake)
		c.Operations, c.Limits.Files = k, files
		if _, err := c.Access.Grant(api.GrantRequest{Who: "4242", Role: string(access.Operator), Machines: []string{"web*"}}, "the test"); err != nil {
			t.Fatal(err)
		}
	})
	path := st.run(t)
	openUp(t, path)
	return st, k, path
}

// held tells how many open files of a user the server holds.
func (st *site) heldOf(user uint32) int {
	st.held.mu.Lock()
	defer st.held.mu.Unlock()
	return st.held.count[user]
}

// gone waits until the server holds no open file.
func (st *site) gone(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		st.held.mu.Lock()
		n := len(st.held.count)
		st.held.mu.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatal("open files are left")
		}
	}
}

// contents makes n files, each with its number, and opens them.
func contents(t *testing.T, n int) []int {
	t.Helper()
	var fds []int
	for i := range n {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(fmt.Sprint("content ", i)), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		fds = append(fds, int(f.Fd()))
	}
	return fds
}

// startText is a request to start a backup with open files of vda.
func startText(machine string, open int) string {
	list, _ := json.Marshal(strings.Fields(strings.Repeat("vda ", open)))
	body := fmt.Sprintf(`{"kind":"backup","vault":"main","machine":%q,"backup":{"disks":["vda=/x"],"open":%s}}`, machine, list)
	return fmt.Sprintf("POST %s/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", base, len(body), body)
}

// hand sends text with open files in its first byte.
func hand(t *testing.T, c net.Conn, text string, fds []int) {
	t.Helper()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	var rights []byte
	if len(fds) > 0 {
		rights = syscall.UnixRights(fds...)
	}
	if _, _, err := c.(*net.UnixConn).WriteMsgUnix([]byte(text[:1]), rights, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text[1:]); err != nil {
		t.Fatal(err)
	}
}

// answer reads one answer.
func answer(t *testing.T, r *bufio.Reader) (status int, body string) {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestOpenFilesReachTheRequestThatTheyCameWithAndAreClosedWithItsJob(t *testing.T) {
	st, k, path := openStation(t, 128)
	c := connectAs(t, path, 4242, 4242, nil)
	r := bufio.NewReader(c)
	hand(t, c, startText("web1", 3), contents(t, 3))
	if status, body := answer(t, r); status != 200 || !strings.Contains(body, `"content 0","content 1","content 2"`) {
		t.Fatalf("%d %s", status, body)
	}
	if n := st.heldOf(4242); n != 3 {
		t.Errorf("%d files are held while the job runs", n)
	}
	c.Close() // the job outlives the connection
	if _, err := k.keeps[0].Files[2].Stat(); err != nil {
		t.Errorf("a file was closed with the connection: %v", err)
	}
	k.keeps[0].Close()
	k.keeps[0].Close()
	st.gone(t)
	if e := st.entries(t); len(e) != 1 || e[0].Who != "4242" || !strings.Contains(e[0].Object, "open files: vda=/x") {
		t.Errorf("the audit log holds %+v", e)
	}
}

func TestTheClientHandsFilesOverAndHasThemNoMore(t *testing.T) {
	st, k, path := openStation(t, 128)
	f, err := os.Open(filepath.Join("/proc/self/fd", fmt.Sprint(contents(t, 1)[0])))
	if err != nil {
		t.Fatal(err)
	}
	q := api.JobRequest{Kind: api.JobBackup, Vault: "main", Machine: "web1", Backup: &api.BackupOptions{Disks: []string{"vda=" + strings.Repeat("/long", 200000)}, Open: []string{"vda"}}}
	q.HandOver(api.Hand([]*os.File{f}, nil))
	c := dial(t, path)
	j, err := c.Start(t.Context(), q)
	if err != nil || len(j.Notes) != 1 || j.Notes[0] != "content 0" {
		t.Fatalf("%+v %v", j, err)
	}
	if _, err := f.Stat(); err == nil {
		t.Error("the client holds the file still")
	}
	if _, err := c.Start(t.Context(), q); err == nil {
		t.Error("closed files were handed over")
	}
	k.keeps[0].Close()
	st.gone(t)
}

func TestFilesThatNobodyTakesAreLetGo(t *testing.T) {
	st, _, path := openStation(t, 128)
	few, many := contents(t, 2), contents(t, 100)
	for _, row := range []struct {
		name, text, want string
		fds              []int
		uid              int
		status           int
	}{
		{"with another request", "GET " + base + "/whoami HTTP/1.1\r\nHost: x\r\n\r\n", "4242", few, 4242, 200},
		{"more than the request speaks of", startText("web1", 1), "2 files for 1", few, 4242, 422},
		{"fewer than the request speaks of", startText("web1", 3), "2 files for 3", few, 4242, 422},
		{"none", startText("web1", 1), "no open file came", nil, 4242, 422},
		{"too many", startText("web1", 100), "more than 32 open files", many, 4242, 422},
		{"of a machine that was not granted", startText("db1", 2), "holdfast grant 4242 operate", few, 4242, 403},
		{"of somebody who may not back up", startText("web1", 2), "lacks the permission", few, 5151, 403},
		{"half of a request", "POST " + base + "/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{}", "", few, 4242, 0},
		{"no HTTP", "hello\r\n\r\n", "", few, 4242, 400},
	} {
		c := connectAs(t, path, row.uid, row.uid, nil)
		hand(t, c, row.text, row.fds)
		if row.status == 0 {
			c.Close()
		} else if status, body := answer(t, bufio.NewReader(c)); status != row.status || !strings.Contains(body, row.want) {
			t.Errorf("%s: %d %s", row.name, status, body)
		}
		st.gone(t)
		c.Close()
	}
}

func TestFilesOfALaterRequestReachNobody(t *testing.T) {
	st, k, path := openStation(t, 128)
	c := connectAs(t, path, 4242, 4242, nil)
	r := bufio.NewReader(c)
	hand(t, c, "GET "+base+"/whoami HTTP/1.1\r\nHost: x\r\n\r\n", nil)
	answer(t, r)
	hand(t, c, startText("web1", 2), contents(t, 2))
	if status, body := answer(t, r); status != 422 || !strings.Contains(body, "first request of a connection") {
		t.Errorf("%d %s", status, body)
	}
	hand(t, c, startText("web1", 0), contents(t, 2))
	if status, _ := answer(t, r); status != 200 || len(k.keeps) != 0 {
		t.Errorf("%d, %d requests with files", status, len(k.keeps))
	}
	st.gone(t)
}

func TestOneUserHoldsOnlySoManyFiles(t *testing.T) {
	st, k, path := openStation(t, 40)
	first := connectAs(t, path, 4242, 4242, nil)
	hand(t, first, startText("web1", 9), contents(t, 9))
	if status, body := answer(t, bufio.NewReader(first)); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	second := connectAs(t, path, 4242, 4242, nil)
	hand(t, second, startText("web2", 1), contents(t, 1))
	if status, body := answer(t, bufio.NewReader(second)); status != 422 || !strings.Contains(body, "until some are over") {
		t.Errorf("%d %s", status, body)
	}
	root := connectAs(t, path, 0, 0, nil)
	hand(t, root, startText("web2", 1), contents(t, 1))
	if status, body := answer(t, bufio.NewReader(root)); status != 200 {
		t.Errorf("another user: %d %s", status, body)
	}
	for _, h := range k.keeps {
		h.Close()
	}
	st.gone(t)
	third := connectAs(t, path, 4242, 4242, nil)
	hand(t, third, startText("web2", 1), contents(t, 1))
	if status, body := answer(t, bufio.NewReader(third)); status != 200 {
		t.Errorf("when they are closed: %d %s", status, body)
	}
	k.keeps[len(k.keeps)-1].Close()
	st.gone(t)
}

func TestOpenFilesComeOverNoNetwork(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	w := st.ask(st.secret(t, "admin"), "POST", base+"/jobs", `{"kind":"backup","vault":"main","machine":"web1","backup":{"disks":["vda=/x"],"open":["vda"]}}`)
	if p := aProblem(t, w, 422, 2); !strings.Contains(p.Detail, "Unix socket") || len(st.fake.called()) > 0 {
		t.Errorf("%+v", p)
	}
	c, err := api.NewClient(api.ClientOptions{URL: "https://localhost:1", Token: "x"})
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	q := api.JobRequest{Kind: api.JobBackup}
	q.HandOver(api.Hand([]*os.File{null}, nil))
	if _, err := c.Start(t.Context(), q); err == nil || !strings.Contains(err.Error(), "of this host alone") {
		t.Errorf("%v", err)
	}
	if null.Close() == nil {
		t.Error("the file was left open")
	}
}

func TestANewMachineIsBackedUpByWhomItsNameWasGranted(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	operator := st.secret(t, "operator", "web*")
	for body, status := range map[string]int{
		`{"kind":"backup","vault":"main","machine":"web9","backup":{"disks":["vda=/x"]}}`:    200,
		`{"kind":"backup","vault":"main","machine":"db9","backup":{"disks":["vda=/x"]}}`:     403,
		`{"kind":"backup","vault":"main","machine":"id-db1","backup":{"disks":["vda=/x"]}}`:  403,
		`{"kind":"backup","vault":"main","machine":"web9"}`:                                  403, // not even that it is not there is told
		`{"kind":"backup","vault":"main","machine":"id-web1","backup":{"disks":["vda=/x"]}}`: 200,
	} {
		if w := st.ask(operator, "POST", base+"/jobs", body); w.Code != status {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
}
