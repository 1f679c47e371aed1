package agenttest

import (
	"encoding/json"
	"errors"
	"net"
	"os/exec"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

var offered = []string{"guest-ping", "guest-info", "guest-sync-delimited", "guest-get-osinfo", "guest-get-fsinfo", "guest-exec", "guest-exec-status",
	"guest-fsfreeze-freeze", "guest-fsfreeze-freeze-list", "guest-fsfreeze-thaw", "guest-fsfreeze-status"}

// whileFrozen are the commands that the agent obeys in a frozen guest.
var whileFrozen = []string{"guest-ping", "guest-info", "guest-sync-delimited", "guest-fsfreeze-thaw", "guest-fsfreeze-status"}

// refusal is an error in qemu-ga's own words.
type refusal string

func (r refusal) Error() string { return string(r) }

func (a *Agent) do(command string, args json.RawMessage) (any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if command != "guest-sync-delimited" {
		a.said = append(a.said, command)
	}
	switch {
	case !slices.Contains(offered, command):
		return nil, refusal("The command " + command + " has not been found")
	case slices.Contains(a.script.Lacks, command), a.frozen > 0 && !slices.Contains(whileFrozen, command):
		return nil, refusal("Command " + command + " has been disabled")
	}
	switch command {
	case "guest-sync-delimited":
		var sync struct{ ID int64 }
		err := json.Unmarshal(args, &sync)
		return sync.ID, err
	case "guest-info":
		return a.info(), nil
	case "guest-get-osinfo":
		if a.script.Windows {
			return map[string]string{"id": "mswindows", "name": "Microsoft Windows"}, nil
		}
		return map[string]string{"id": "debian", "name": "Debian GNU/Linux"}, nil
	case "guest-get-fsinfo":
		return []map[string]any{{"name": "vda", "mountpoint": "/", "type": "ext4", "used-bytes": 1, "total-bytes": 2, "disk": []any{}}}, nil
	case "guest-fsfreeze-status":
		return map[bool]string{true: "frozen", false: "thawed"}[a.frozen > 0 || a.late], nil
	case "guest-fsfreeze-freeze", "guest-fsfreeze-freeze-list":
		return a.freeze(args)
	case "guest-fsfreeze-thaw":
		return a.thaw()
	case "guest-exec":
		return a.exec(args)
	case "guest-exec-status":
		return a.execStatus(args)
	}
	return map[string]any{}, nil
}

func (a *Agent) info() any {
	var list []map[string]any
	for _, name := range offered {
		list = append(list, map[string]any{"name": name, "enabled": !slices.Contains(a.script.Lacks, name), "success-response": true})
	}
	version := a.script.Version
	if version == "" {
		version = "7.2.22"
	}
	return map[string]any{"version": version, "supported_commands": list}
}

func (a *Agent) freeze(args json.RawMessage) (any, error) {
	if a.script.FreezeTakes > 0 {
		a.mu.Unlock()
		time.Sleep(a.script.FreezeTakes)
		a.mu.Lock()
	}
	if a.script.FreezeError != "" {
		return nil, errors.New(a.script.FreezeError)
	}
	n := a.script.Filesystems
	var list struct{ Mountpoints []string }
	if json.Unmarshal(args, &list) == nil && len(list.Mountpoints) > 0 {
		n = len(list.Mountpoints)
	}
	a.frozen, a.late = max(n, 0), false
	if a.script.ThawsItself > 0 {
		a.timer = time.AfterFunc(a.script.ThawsItself, func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.frozen > 0 {
				a.frozen, a.late = 0, true
			}
		})
	}
	return a.frozen, nil
}

func (a *Agent) thaw() (any, error) {
	if a.late {
		a.late = false
		return nil, errors.New("couldn't hold writes: fsfreeze is limited up to 10 seconds: ")
	}
	if a.script.ThawError != "" {
		return nil, errors.New(a.script.ThawError)
	}
	n := a.frozen
	a.frozen = 0
	return n, nil
}

// exec runs a program of the host, and is done when that is.
func (a *Agent) exec(args json.RawMessage) (any, error) {
	var r struct {
		Path string
		Arg  []string
		Env  []string
	}
	if err := json.Unmarshal(args, &r); err != nil {
		return nil, err
	}
	cmd := exec.Command(r.Path, r.Arg...)
	cmd.Env = r.Env
	if slices.Contains(r.Arg, "sleep for ever") { // a process that never ends
		return map[string]int{"pid": 0}, nil
	}
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	result := map[string]any{"exited": true, "exitcode": cmd.ProcessState.ExitCode(), "out-data": out}
	if exit != nil {
		result["err-data"] = exit.Stderr
	}
	a.ended[cmd.ProcessState.Pid()] = result
	return map[string]int{"pid": cmd.ProcessState.Pid()}, nil
}

func (a *Agent) execStatus(args json.RawMessage) (any, error) {
	var r struct{ PID int }
	if err := json.Unmarshal(args, &r); err != nil {
		return nil, err
	}
	if r.PID == 0 {
		return map[string]any{"exited": false}, nil
	}
	result, ok := a.ended[r.PID]
	if !ok {
		return nil, refusal("Invalid parameter 'pid'")
	}
	delete(a.ended, r.PID)
	return result, nil
}

// hungUp tells whether the client has closed, without reading what it sent.
func hungUp(conn net.Conn) bool {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Control(func(fd uintptr) {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(poll, 0)
		gone = err == nil && n > 0
	})
	return gone || err != nil
}
