package qemu

import (
	"context"
	"fmt"
	"strings"
)

// VM is what QEMU says of the machine as a whole.
type VM struct {
	Name    string
	UUID    string // empty where QEMU was given none
	Status  string // running, paused, io-error, shutdown, ... (QEMU's RunState)
	Running bool
	Version Version
	PID     int     // of the QEMU process; 0: not known
	Agents  []Agent // sockets of guest agents; usually one
}

// Agent is a socket behind which a guest agent may answer.
type Agent struct {
	Socket string // path; empty where the channel is not a Unix socket
	Open   bool   // a program in the guest holds the other end
}

const (
	agentPort = "org.qemu.guest_agent.0"
	noUUID    = "00000000-0000-0000-0000-000000000000"
)

// VM asks for the state of the machine.
func (m *Machine) VM(ctx context.Context) (VM, error) {
	vm := VM{Version: m.version, PID: m.process.pid}
	var name struct {
		Name string `json:"name"`
	}
	var uuid struct{ UUID string }
	status, err := m.status(ctx)
	if err == nil {
		err = m.do(ctx, "query-name", nil, &name)
	}
	if err == nil {
		err = m.do(ctx, "query-uuid", nil, &uuid)
	}
	if err == nil {
		vm.Agents, err = m.agents(ctx)
	}
	if err != nil {
		return VM{}, fmt.Errorf("ask QEMU about the machine: %w", err)
	}
	vm.Name, vm.Status, vm.Running = name.Name, status.Status, status.Running
	if uuid.UUID != noUUID {
		vm.UUID = uuid.UUID
	}
	return vm, nil
}

type runState struct {
	Status  string `json:"status"`
	Running bool   `json:"running"`
}

func (m *Machine) status(ctx context.Context) (s runState, err error) {
	err = m.do(ctx, "query-status", nil, &s)
	return s, err
}

// agents finds the channels of guest agents: ports of that name, and the sockets
// that QEMU connects them with.
func (m *Machine) agents(ctx context.Context) ([]Agent, error) {
	var chardevs []struct {
		Label    string `json:"label"`
		Filename string `json:"filename"`
		Open     bool   `json:"frontend-open"`
	}
	if err := m.do(ctx, "query-chardev", nil, &chardevs); err != nil {
		return nil, err
	}
	labels := map[string]bool{}
	for _, d := range m.devices(ctx) {
		if d.class == "virtserialport" && m.text(ctx, d.path, "name") == agentPort {
			labels[m.text(ctx, d.path, "chardev")] = true
		}
	}
	var found []Agent
	for _, c := range chardevs {
		if labels[c.Label] {
			found = append(found, Agent{Socket: socketOf(c.Filename), Open: c.Open})
		}
	}
	return found, nil
}

// socketOf takes the path out of what QEMU calls the name of a channel:
// unix:/run/qga.sock,server=on or disconnected:unix:/run/qga.sock,server.
func socketOf(name string) string {
	name = strings.TrimPrefix(name, "disconnected:")
	path, ok := strings.CutPrefix(name, "unix:")
	if !ok {
		return ""
	}
	if i := strings.LastIndex(path, ",server"); i >= 0 {
		path = path[:i]
	}
	return path
}
