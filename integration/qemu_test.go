package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// machine is a QEMU without a guest, whose disks are written to through its monitor.
type machine struct {
	t       *testing.T
	folder  string // short enough for the names of sockets
	cmd     *exec.Cmd
	monitor *monitor // of the test; holdfast has another one
	uuid    string
	name    string
	extra   []string             // arguments of QEMU
	images  map[string][2]string // of each disk: its top layer and the format of that
}

const someUUID = "6a3f0c62-8e44-4d0a-9a5c-0123456789ab"

// newMachine starts a machine with vda, a qcow2 image, and vdb, a raw one.
func newMachine(t *testing.T) *machine {
	t.Helper()
	needs.Tools(t, "qemu-system-x86_64", "qemu-img")
	folder, err := os.MkdirTemp("", "hf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	m := &machine{t: t, folder: folder, uuid: someUUID, name: "web 1"}
	m.images = map[string][2]string{"vda": {m.path("vda"), "qcow2"}, "vdb": {m.path("vdb"), "raw"}}
	m.image("vda", "qcow2", "64M")
	m.image("vdb", "raw", "48M")
	m.start()
	t.Cleanup(m.kill)
	m.write("vda", 1, 0, "8M")
	m.write("vdb", 2, 1<<20, "4M")
	return m
}

func (m *machine) path(name string) string { return filepath.Join(m.folder, name) }

func (m *machine) image(name, format, size string) {
	m.t.Helper()
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", format, m.path(name), size).CombinedOutput(); err != nil {
		m.t.Fatalf("%v: %s", err, out)
	}
}

func (m *machine) start() {
	m.t.Helper()
	args := []string{"-M", "pc", "-nodefaults", "-display", "none", "-m", "32", "-name", m.name, "-uuid", m.uuid,
		"-qmp", "unix:" + m.path("qmp") + ",server=on,wait=off", "-qmp", "unix:" + m.path("test") + ",server=on,wait=off"}
	for _, d := range [][2]string{{"vda", "qcow2"}, {"vdb", "raw"}} {
		args = append(args, "-drive", "id="+d[0]+",if=none,file="+m.path(d[0])+",format="+d[1], "-device", "virtio-blk-pci,id=dev-"+d[0]+",drive="+d[0]+",serial=serial-"+d[0])
	}
	m.cmd = exec.CommandContext(m.t.Context(), "qemu-system-x86_64", append(args, m.extra...)...)
	m.cmd.Stderr = os.Stderr
	m.cmd.SysProcAttr = endsWithUs()
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	eventually(m.t, "QEMU listens", func() bool {
		conn, err := net.Dial("unix", m.path("test"))
		if err != nil {
			return false
		}
		m.monitor = newMonitor(m.t, conn)
		return true
	})
}

// kill ends QEMU as a crash would, and removes its sockets, which it leaves then.
func (m *machine) kill() {
	if m.cmd.ProcessState == nil {
		m.cmd.Process.Kill()
		m.cmd.Wait()
	}
	m.monitor.conn.Close()
	os.Remove(m.path("qmp"))
	os.Remove(m.path("test"))
}

// write writes a byte again and again, as a guest does.
func (m *machine) write(disk string, value byte, off int64, length string) {
	m.t.Helper()
	command := fmt.Sprintf("qemu-io %s \"write -P %d %d %s\"", disk, value, off, length)
	var said string
	m.monitor.do("human-monitor-command", map[string]any{"command-line": command}, &said)
	if said != "" {
		m.t.Fatalf("%s: %s", command, said)
	}
}

// content is the hash of what a disk holds.
func (m *machine) content(disk string) string {
	m.t.Helper()
	if m.cmd.ProcessState == nil { // what it has not written of the image's tables yet
		m.monitor.do("human-monitor-command", map[string]any{"command-line": fmt.Sprintf("qemu-io %s flush", disk)}, nil)
	}
	raw := m.path(disk + ".now")
	defer os.Remove(raw)
	if out, err := exec.Command("qemu-img", "convert", "-U", "-f", m.images[disk][1], "-O", "raw", m.images[disk][0], raw).CombinedOutput(); err != nil {
		m.t.Fatalf("%v: %s", err, out)
	}
	return hashFile(m.t, raw)
}

// clean fails the test unless nothing of ours is in QEMU but one bitmap for each of
// some disks, and it runs.
func (m *machine) clean(bitmaps int) {
	m.t.Helper()
	var status struct{ Running bool }
	m.monitor.do("query-status", nil, &status)
	var exports, jobs []struct{ ID string }
	m.monitor.do("query-block-exports", nil, &exports)
	m.monitor.do("query-jobs", nil, &jobs)
	if !status.Running || len(exports) != 0 || len(jobs) != 0 {
		m.t.Errorf("running %v, exports %v, jobs %v", status.Running, exports, jobs)
	}
	found := 0
	for _, n := range m.nodes() {
		if strings.HasPrefix(n.Name, "hf-") {
			m.t.Errorf("node %s is left", n.Name)
		}
		for _, b := range n.Bitmaps {
			if strings.HasPrefix(b.Name, "hf-") {
				found++
			}
		}
	}
	if found != bitmaps {
		m.t.Errorf("%d bitmaps of ours are in QEMU, want %d", found, bitmaps)
	}
	if left, _ := filepath.Glob(m.path("scratch/*/*")); len(left) > 0 {
		m.t.Errorf("scratch files are left: %v", left)
	}
}

// exports counts what QEMU shows of its disks just now.
func (m *machine) exports() int {
	m.t.Helper()
	var exports []struct{ ID string }
	m.monitor.do("query-block-exports", nil, &exports)
	return len(exports)
}

type blockNode struct {
	Name    string `json:"node-name"`
	Bitmaps []struct {
		Name string `json:"name"`
	} `json:"dirty-bitmaps"`
}

func (m *machine) nodes() (nodes []blockNode) {
	m.monitor.do("query-named-block-nodes", map[string]any{"flat": true}, &nodes)
	return nodes
}

// monitor is a QMP connection of the test.
type monitor struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func newMonitor(t *testing.T, conn net.Conn) *monitor {
	t.Helper()
	q := &monitor{t, conn, bufio.NewReader(conn)}
	if _, err := q.in.ReadBytes('\n'); err != nil {
		t.Fatal(err)
	}
	q.do("qmp_capabilities", nil, nil)
	return q
}

func (q *monitor) do(command string, args, reply any) {
	q.t.Helper()
	if err := q.try(command, args, reply); err != nil {
		q.t.Fatal(err)
	}
}

func (q *monitor) try(command string, args, reply any) error {
	request := map[string]any{"execute": command}
	if args != nil {
		request["arguments"] = args
	}
	text, err := json.Marshal(request)
	if err != nil {
		return err
	}
	q.conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := q.conn.Write(append(text, '\n')); err != nil {
		return err
	}
	for {
		line, err := q.in.ReadBytes('\n')
		if err != nil {
			return err
		}
		var answer struct {
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		if err := json.Unmarshal(line, &answer); err != nil {
			return err
		}
		switch {
		case answer.Error != nil:
			return fmt.Errorf("%s: %s", command, answer.Error.Desc)
		case answer.Return != nil && reply != nil:
			return json.Unmarshal(answer.Return, reply)
		case answer.Return != nil:
			return nil
		}
	}
}
