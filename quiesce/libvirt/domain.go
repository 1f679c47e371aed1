package libvirt

import (
	"context"
	"fmt"
	"strings"
)

// State is what a domain does.
type State string

// States of domains, in virsh's words.
const (
	Running State = "running"
	Paused  State = "paused"
	Off     State = "shut off"
	Crashed State = "crashed"
)

// Domain is a machine that libvirt knows. It remembers nothing but its UUID and
// the name that it had; every call asks libvirt.
type Domain struct {
	host *Host
	uuid string
	name string
}

// DomainInfo is what there is to know of a domain at a glance.
type DomainInfo struct {
	Name, UUID string
	State      State
	Reason     string // of the state, for example "booted" or "I/O error"
	Active     bool   // it has a process
	Persistent bool   // it has a definition that stays when it ends
	Agent      AgentState
	Disks      []Disk
	Tags       []string // words of its title and of its metadata, sorted; see TagsURI
}

// AgentState is whether the domain has a channel for the guest agent, and whether the
// agent has opened it.
type AgentState string

// States of a channel.
const (
	NoAgent           AgentState = ""             // no channel
	AgentDisconnected AgentState = "disconnected" // nobody in the guest has opened it, or the domain is off
	AgentConnected    AgentState = "connected"
)

// Name of the domain when it was looked up.
func (d *Domain) Name() string { return d.name }

// UUID of the domain, in lower case with dashes.
func (d *Domain) UUID() string { return d.uuid }

// Host that the domain was looked up on.
func (d *Domain) Host() *Host { return d.host }

// virsh runs a command on the domain.
func (d *Domain) virsh(ctx context.Context, command string, args ...any) (string, error) {
	out, err := d.host.virsh(ctx, command, append([]any{"--domain=" + d.uuid}, args...)...)
	if says(err, "failed to get domain", "Domain not found") {
		return "", fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return out, err
}

// wrap names the domain in an error.
func (d *Domain) wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	name := d.name
	if name == "" {
		name = d.uuid
	}
	return fmt.Errorf("%s of domain %q: %w", what, name, err)
}

func (d *Domain) askName(ctx context.Context) (string, error) {
	root, err := d.tree(ctx, "--inactive")
	if err != nil {
		return "", err
	}
	return root.text("name"), nil
}

// tree is the domain's XML, taken apart.
func (d *Domain) tree(ctx context.Context, options ...any) (*element, error) {
	text, err := d.virsh(ctx, "dumpxml", options...)
	if err != nil {
		return nil, d.wrap("XML", err)
	}
	root, err := parseXML(text)
	if err != nil {
		return nil, d.wrap("XML", err)
	}
	return root, nil
}

// State asks what the domain does, and why.
func (d *Domain) State(ctx context.Context) (State, string, error) {
	out, err := d.virsh(ctx, "domstate", "--reason")
	if err != nil {
		return "", "", d.wrap("state", err)
	}
	state, reason, _ := strings.Cut(strings.TrimSpace(out), " (")
	return State(state), strings.TrimSuffix(reason, ")"), nil
}

// Active tells whether a domain in this state has a process.
func (s State) Active() bool { return s != Off && s != Crashed && s != "" }

// Info asks for all that a list of machines shows.
func (d *Domain) Info(ctx context.Context) (DomainInfo, error) {
	root, err := d.tree(ctx)
	if err != nil {
		return DomainInfo{}, err
	}
	info := DomainInfo{Name: root.text("name"), UUID: d.uuid, Disks: d.sized(ctx, disksOf(root)), Agent: agentOf(root), Tags: tagsOf(root)}
	if info.State, info.Reason, err = d.State(ctx); err != nil {
		return DomainInfo{}, err
	}
	info.Active = info.State.Active()
	if !info.Active {
		info.Persistent = true
		return info, nil
	}
	out, err := d.virsh(ctx, "dominfo")
	info.Persistent = strings.Contains(out, "Persistent:     yes")
	return info, d.wrap("facts", err)
}

// XML is the domain's stored definition, as virsh define reads it; with what is secret
// in it (passwords of consoles) only when secrets is set. Of a domain that has no
// stored definition it is that of the one that runs.
func (d *Domain) XML(ctx context.Context, secrets bool) (string, error) {
	options := []any{"--inactive"}
	if secrets {
		options = append(options, "--security-info")
	}
	text, err := d.virsh(ctx, "dumpxml", options...)
	return text, d.wrap("XML", err)
}

// LiveXML describes the domain that runs now, or the stored one when it is off.
func (d *Domain) LiveXML(ctx context.Context) (string, error) {
	text, err := d.virsh(ctx, "dumpxml")
	return text, d.wrap("XML", err)
}

// Disks are the domain's disks as they are now, those that are left out among them, in
// the order of the XML.
func (d *Domain) Disks(ctx context.Context) ([]Disk, error) {
	root, err := d.tree(ctx)
	if err != nil {
		return nil, err
	}
	return d.sized(ctx, disksOf(root)), nil
}

// agentOf finds the guest agent's channel.
func agentOf(root *element) AgentState {
	for _, c := range root.child("devices").all("channel") {
		t := c.child("target")
		if t.attr("type") == "virtio" && t.attr("name") == "org.qemu.guest_agent.0" {
			if t.attr("state") == "connected" {
				return AgentConnected
			}
			return AgentDisconnected
		}
	}
	return NoAgent
}
