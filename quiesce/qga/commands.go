package qga

import (
	"context"
	"fmt"
	"slices"
)

// Commands are the agent's commands, over anything that passes them on.
type Commands struct {
	// Do sends a command with its arguments (nil: none) and decodes what it returns
	// into reply (nil: dropped). The agent's refusal is an [*Error]; [Decode] makes it.
	Do func(ctx context.Context, command string, args, reply any) error
}

// Info is what an agent says of itself.
type Info struct {
	Version  string
	Commands []string // that it has and obeys
}

// Has tells whether the agent obeys a command. One that listed none is taken
// to have all.
func (i Info) Has(command string) bool {
	return len(i.Commands) == 0 || slices.Contains(i.Commands, command)
}

// OSInfo says what runs in the guest. Fields that the agent does not know are empty.
type OSInfo struct {
	ID         string `json:"id"` // "mswindows", or ID of os-release
	Name       string `json:"name"`
	PrettyName string `json:"pretty-name"`
	Version    string `json:"version"`
	VersionID  string `json:"version-id"`
	Kernel     string `json:"kernel-release"`
	Machine    string `json:"machine"` // architecture
}

// Windows tells whether the guest is Microsoft Windows.
func (o OSInfo) Windows() bool { return o.ID == "mswindows" }

// Filesystem is a file system that is mounted in the guest.
type Filesystem struct {
	Name       string           `json:"name"` // of the device in the guest
	Mountpoint string           `json:"mountpoint"`
	Type       string           `json:"type"`
	Used       int64            `json:"used-bytes"`  // 0: not known
	Total      int64            `json:"total-bytes"` // 0: not known
	Disks      []FilesystemDisk `json:"disk"`        // that it lies on
}

// FilesystemDisk is a disk as the guest's agent sees it.
type FilesystemDisk struct {
	Bus    string `json:"bus-type"`
	Serial string `json:"serial"`
	Dev    string `json:"dev"`
}

// Ping asks for a sign of life.
func (c Commands) Ping(ctx context.Context) error {
	return c.Do(ctx, "guest-ping", nil, nil)
}

// Info asks which version the agent has and which commands it obeys.
func (c Commands) Info(ctx context.Context) (Info, error) {
	var reply struct {
		Version  string `json:"version"`
		Commands []struct {
			Name    string `json:"name"`
			Enabled bool   `json:"enabled"`
		} `json:"supported_commands"`
	}
	if err := c.Do(ctx, "guest-info", nil, &reply); err != nil {
		return Info{}, err
	}
	info := Info{Version: words(reply.Version)}
	for _, command := range reply.Commands {
		if command.Enabled {
			info.Commands = append(info.Commands, command.Name)
		}
	}
	return info, nil
}

// OSInfo asks what runs in the guest. Agents before QEMU 2.10 do not know.
func (c Commands) OSInfo(ctx context.Context) (OSInfo, error) {
	var o OSInfo
	err := c.Do(ctx, "guest-get-osinfo", nil, &o)
	return o, err
}

// Freeze stops writes to the guest's file systems, or to those of the mount
// points, and returns how many it froze. A call that failed, a time-out above all, may
// have frozen some or do so later.
func (c Commands) Freeze(ctx context.Context, mounts []string) (int, error) {
	var n int
	var err error
	if len(mounts) == 0 {
		err = c.Do(ctx, "guest-fsfreeze-freeze", nil, &n)
	} else {
		err = c.Do(ctx, "guest-fsfreeze-freeze-list", map[string]any{"mountpoints": mounts}, &n)
	}
	return n, err
}

// Thaw lets the guest's file systems be written again and returns how many were
// frozen: none is no error.
func (c Commands) Thaw(ctx context.Context) (int, error) {
	var n int
	err := c.Do(ctx, "guest-fsfreeze-thaw", nil, &n)
	return n, err
}

// Frozen tells whether the agent has frozen file systems.
func (c Commands) Frozen(ctx context.Context) (bool, error) {
	var status string
	if err := c.Do(ctx, "guest-fsfreeze-status", nil, &status); err != nil {
		return false, err
	}
	switch status {
	case "frozen":
		return true, nil
	case "thawed":
		return false, nil
	}
	return false, fmt.Errorf("guest-fsfreeze-status: the guest agent's reply is %q", words(status))
}

// Filesystems lists what is mounted in the guest.
func (c Commands) Filesystems(ctx context.Context) ([]Filesystem, error) {
	var list []Filesystem
	err := c.Do(ctx, "guest-get-fsinfo", nil, &list)
	return list, err
}
