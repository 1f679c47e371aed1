package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/guest"
)

// withDisk plugs a file into a guest as its third disk, read-only, runs a command there, and unplugs
// it; it returns what the command said.
func withDisk(t *testing.T, vm *guest.VM, file, command string) string {
	t.Helper()
	m := newQMP(t, vm)
	defer m.c.Close() // the next one is served then
	m.must(t, "blockdev-add", map[string]any{"driver": "raw", "node-name": "older", "read-only": true,
		"file": map[string]any{"driver": "file", "filename": file, "read-only": true}})
	m.must(t, "device_add", map[string]any{"driver": "virtio-blk-pci", "drive": "older", "id": "olderdisk"})
	out := vm.Exec(t, "for i in $(seq 500); do [ -b /dev/vdc ] && break; sleep 0.2; done; "+command)
	m.must(t, "device_del", map[string]any{"id": "olderdisk"}) // which the guest does
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		err := m.do("blockdev-del", map[string]any{"node-name": "older"})
		if err == nil {
			return out
		}
		if time.Now().After(end) || !strings.Contains(err.Error(), "in use") {
			t.Fatal(err)
		}
	}
}

// qmpClient is a connection to QEMU's monitor, which serves one at a time.
type qmpClient struct {
	c    net.Conn
	from *json.Decoder
}

// newQMP connects to a guest's monitor.
func newQMP(t *testing.T, vm *guest.VM) *qmpClient {
	t.Helper()
	c, err := net.DialTimeout("unix", vm.QMP, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	m := &qmpClient{c, json.NewDecoder(c)}
	c.SetDeadline(time.Now().Add(30 * time.Second))
	var greeting struct{ QMP json.RawMessage }
	if err := m.from.Decode(&greeting); err != nil || greeting.QMP == nil {
		t.Fatalf("QEMU's monitor says %s, %v", greeting.QMP, err)
	}
	m.must(t, "qmp_capabilities", map[string]any{})
	return m
}

func (m *qmpClient) must(t *testing.T, command string, arguments any) {
	t.Helper()
	if err := m.do(command, arguments); err != nil {
		t.Fatal(err)
	}
}

// do gives a command, and passes events over.
func (m *qmpClient) do(command string, arguments any) error {
	m.c.SetDeadline(time.Now().Add(30 * time.Second))
	if err := json.NewEncoder(m.c).Encode(map[string]any{"execute": command, "arguments": arguments}); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	for {
		var answer struct {
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		if err := m.from.Decode(&answer); err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
		if answer.Error != nil {
			return fmt.Errorf("%s: %s", command, answer.Error.Desc)
		}
		if answer.Return != nil {
			return nil
		}
	}
}
