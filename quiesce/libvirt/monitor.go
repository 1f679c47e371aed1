package libvirt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/holdfast-backup/holdfast/quiesce/qmp"
)

// Monitor passes commands on to the domain's QEMU, behind libvirt's back. The first one
// makes libvirt mark the domain as tainted.
type Monitor struct{ d *Domain }

// Monitor is the way to QEMU's monitor.
func (d *Domain) Monitor() *Monitor { return &Monitor{d} }

// Do carries out a command, as qemu.Monitor says.
func (m *Monitor) Do(ctx context.Context, command string, args, reply any) error {
	request := map[string]any{"execute": command}
	if args != nil {
		request["arguments"] = args
	}
	text, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("arguments of %s: %w", command, err)
	}
	out, err := m.d.virsh(ctx, "qemu-monitor-command", "--cmd", string(text))
	switch {
	case says(err, "domain is not running", "monitor closed", "End of file"), errors.Is(err, ErrNotFound):
		return m.d.wrap(command, fmt.Errorf("%w: %w", qmp.ErrGone, err))
	case err != nil:
		return m.d.wrap(command, err)
	}
	return decodeReply(command, out, reply)
}

// decodeReply reads QEMU's answer as virsh prints it.
func decodeReply(command, text string, reply any) error {
	var answer struct {
		Return json.RawMessage `json:"return"`
		Error  *struct {
			Class string `json:"class"`
			Desc  string `json:"desc"`
		} `json:"error"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return fmt.Errorf("answer to %s: %w: %w", command, qmp.ErrProtocol, err)
	}
	switch {
	case answer.Error != nil:
		return &qmp.Error{Command: command, Class: answer.Error.Class, Desc: answer.Error.Desc}
	case answer.Return == nil:
		return fmt.Errorf("answer to %s: %w: neither a result nor an error", command, qmp.ErrProtocol)
	case reply == nil:
		return nil
	}
	if err := json.Unmarshal(answer.Return, reply); err != nil {
		return fmt.Errorf("answer to %s: %w: %w", command, qmp.ErrProtocol, err)
	}
	return nil
}
