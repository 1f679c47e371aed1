package libvirt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/quiesce/qga"
)

// Agent is the agent in a domain's guest, asked through libvirt, which holds its socket.
// One method at a time may be called.
//
// libvirt waits for an agent for ever, unless the domain is told otherwise: Freeze tells it
// for how long, and Thaw puts back what was there. Only Exec taints the domain.
type Agent struct {
	d     *Domain
	saved *int // time-out in seconds to be put back; nil: it was not changed
}

// Agent is the way to the guest agent, whether there is one or not.
func (d *Domain) Agent() *Agent { return &Agent{d: d} }

const (
	waitForEver    = -2 // libvirt's time-out unless it was told otherwise
	lookTimeout    = 5  // seconds for questions
	longestTimeout = 600
)

// Ping asks for a sign of life: the agent's channel must be open, and the guest's
// clock must be told. A guest that is frozen is alive.
func (a *Agent) Ping(ctx context.Context) error {
	_, err := a.Frozen(ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// Info is empty: libvirt passes no question about the agent on to it.
func (a *Agent) Info(context.Context) (qga.Info, error) { return qga.Info{}, nil }

// Frozen tells whether the agent has frozen file systems, by asking for the guest's
// clock: a frozen agent says that it is. It is errors.ErrUnsupported where the agent does not
// give a reason for its refusal, as before QEMU 6.1.
func (a *Agent) Frozen(ctx context.Context) (bool, error) {
	if err := a.connected(ctx); err != nil {
		return false, err
	}
	_, err := a.limited(ctx, lookTimeout*time.Second, "domtime")
	switch {
	case err == nil:
		return false, nil
	case says(err, "frozen state"):
		return true, nil
	case says(err, "has been disabled", "has not been found", "not supported"):
		return false, fmt.Errorf("whether the guest is frozen: %w", errors.ErrUnsupported)
	}
	return false, a.explain("ask guest agent", err)
}

// connected looks whether somebody in the guest has opened the channel.
func (a *Agent) connected(ctx context.Context) error {
	root, err := a.d.tree(ctx)
	if err != nil {
		return err
	}
	switch {
	case root.attr("id") == "":
		return a.d.wrap("guest agent", qga.ErrGone)
	case agentOf(root) != AgentConnected:
		return a.d.wrap("guest agent", qga.ErrAbsent)
	}
	return nil
}

// Freeze stops writes to the guest's file systems, or to those of the mount
// points, and returns how many it froze. A call that failed, a time-out above all, may
// have frozen some or do so later. Thaw must follow in any case.
func (a *Agent) Freeze(ctx context.Context, mounts []string) (int, error) {
	var args []any
	for _, m := range mounts {
		if m == "" || m[0] == '-' {
			return 0, fmt.Errorf("freeze: %q is no mount point", m)
		}
		args = append(args, "--mountpoint", m)
	}
	if err := a.connected(ctx); err != nil {
		return 0, err
	}
	if err := a.limit(ctx, left(ctx, longestTimeout*time.Second)); err != nil {
		return 0, a.explain("freeze guest", err)
	}
	out, err := a.d.virsh(ctx, "domfsfreeze", args...)
	if err != nil {
		return 0, a.explain("freeze guest", err)
	}
	return counted(out, "Froze")
}

// Thaw lets the guest's file systems be written again and returns how many were
// frozen: none is no error. While another command holds the agent it is tried again
// until ctx ends.
func (a *Agent) Thaw(ctx context.Context) (int, error) {
	if a.saved == nil {
		a.limit(ctx, left(ctx, longestTimeout*time.Second)) // without it, thawing is as good
	}
	for {
		out, err := a.d.virsh(ctx, "domfsthaw")
		if err == nil {
			a.restore(ctx)
			return counted(out, "Thawed")
		}
		if !says(err, "cannot acquire state change lock", "guest agent not available for now") || ctx.Err() != nil {
			return 0, a.explain("thaw guest", err)
		}
		select {
		case <-ctx.Done():
			return 0, a.explain("thaw guest", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Close puts libvirt's time-out for the agent back, should Thaw not have done so.
func (a *Agent) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	return a.restore(ctx)
}

// counted reads "Froze 2 filesystem(s)".
func counted(out, verb string) (int, error) {
	fields := strings.Fields(out)
	if len(fields) >= 2 && fields[0] == verb {
		if n, err := strconv.Atoi(fields[1]); err == nil && n >= 0 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("virsh says %.100q, and not how many file systems", out)
}

// OSInfo asks what runs in the guest.
func (a *Agent) OSInfo(ctx context.Context) (qga.OSInfo, error) {
	out, err := a.limited(ctx, lookTimeout*time.Second, "guestinfo", "--os")
	if err != nil {
		return qga.OSInfo{}, a.explain("ask what runs in the guest", err)
	}
	facts := facts(out)
	return qga.OSInfo{
		ID: facts["os.id"], Name: facts["os.name"], PrettyName: facts["os.pretty-name"], Version: facts["os.version"],
		VersionID: facts["os.version-id"], Kernel: facts["os.kernel-release"], Machine: facts["os.machine"],
	}, nil
}

// facts reads virsh's lines of "name : value" or "name=value".
func facts(out string) map[string]string {
	m := map[string]string{}
	for _, line := range strings.Split(out, "\n") {
		name, value, ok := strings.Cut(line, " : ")
		if !ok {
			name, value, _ = strings.Cut(line, "=")
		}
		m[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return m
}

// Exec runs a program in the guest and waits for its end. libvirt marks the domain
// as tainted by it.
func (a *Agent) Exec(ctx context.Context, r qga.ExecRequest) (qga.ExecResult, error) {
	return qga.Commands{Do: a.do}.Exec(ctx, r)
}

// do passes a command on to the agent.
func (a *Agent) do(ctx context.Context, command string, args, reply any) error {
	request := map[string]any{"execute": command}
	if args != nil {
		request["arguments"] = args
	}
	text, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("arguments of %s: %w", command, err)
	}
	seconds := strconv.Itoa(seconds(left(ctx, callTimeout)))
	out, err := a.d.virsh(ctx, "qemu-agent-command", "--timeout", seconds, "--cmd", string(text))
	var refused *Error
	if errors.As(err, &refused) && strings.Contains(refused.Message, "unable to execute QEMU agent command") {
		_, desc, _ := strings.Cut(refused.Message, "': ")
		return &qga.Error{Command: command, Class: "GenericError", Desc: desc}
	}
	if err != nil {
		return a.explain(command, err)
	}
	return qga.Decode(command, []byte(out), reply)
}

// limited runs a command of virsh with a time-out for the agent's answer.
func (a *Agent) limited(ctx context.Context, most time.Duration, command string, args ...any) (string, error) {
	mine := a.saved == nil
	if err := a.limit(ctx, left(ctx, most)); err != nil {
		return "", err
	}
	out, err := a.d.virsh(ctx, command, args...)
	if mine {
		a.restore(context.WithoutCancel(ctx))
	}
	return out, err
}

// limit tells libvirt how long to wait for the agent, and remembers what was there.
func (a *Agent) limit(ctx context.Context, d time.Duration) error {
	before := a.d.agentTimeout()
	_, err := a.d.virsh(ctx, "guest-agent-timeout", "--timeout="+strconv.Itoa(seconds(d)))
	if err == nil && a.saved == nil {
		a.saved = &before
	}
	return err
}

// restore puts back what limit changed.
func (a *Agent) restore(ctx context.Context) error {
	if a.saved == nil {
		return nil
	}
	_, err := a.d.virsh(ctx, "guest-agent-timeout", "--timeout="+strconv.Itoa(*a.saved))
	if err == nil || says(err, "domain is not running") {
		a.saved = nil
		return nil
	}
	return a.d.wrap("put back the agent's time-out", err)
}

// agentTimeout is what libvirt's record of the running domain says; it tells nobody
// otherwise. Where the record cannot be read it is what libvirt begins with.
func (d *Domain) agentTimeout() int {
	root, err := d.record()
	if err != nil {
		return waitForEver
	}
	n, err := strconv.Atoi(root.text("agentTimeout"))
	if err != nil || n < waitForEver {
		return waitForEver
	}
	return n
}

// record is libvirt's own record of a domain that runs on this host.
func (d *Domain) record() (*element, error) {
	if d.name == "" || strings.ContainsAny(d.name, "/\x00") {
		return nil, errors.New("no file has this name")
	}
	text, err := os.ReadFile(filepath.Join(d.host.state, d.name+".xml"))
	if err != nil {
		return nil, err
	}
	root, err := parseXML(string(text))
	if err == nil && root.text("domain/uuid") != d.uuid {
		err = errors.New("the record is another domain's")
	}
	return root, err
}

// left is the time until ctx's deadline, at most most.
func left(ctx context.Context, most time.Duration) time.Duration {
	if at, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(at))
	}
	return most
}

// seconds rounds up, for libvirt counts in whole ones.
func seconds(d time.Duration) int { return max(1, int((d+time.Second-1)/time.Second)) }

// explain says in the terms of qga why the agent could not be asked.
func (a *Agent) explain(what string, err error) error {
	switch {
	case says(err, "domain is not running"), errors.Is(err, ErrNotFound):
		err = fmt.Errorf("%w: %w", qga.ErrGone, err)
	case says(err, "Guest agent is not responding", "agent is not configured", "agent is not connected"):
		err = fmt.Errorf("%w: %w", qga.ErrAbsent, err)
	case says(err, "cannot acquire state change lock"):
		err = fmt.Errorf("%w: %w", &BusyError{Domain: a.d.name, What: "another command"}, err)
	}
	return a.d.wrap(what, err)
}
