package qemu

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// process is the QEMU process, as far as it is known.
type process struct {
	pid      int // 0: not known
	uid, gid int // whose files QEMU can open; -1: not known
}

// findProcess believes the process table before the socket: QEMU may have made its
// socket before it gave up being root.
func findProcess(mon Monitor, pid int) process {
	p := process{pid: pid, uid: -1, gid: -1}
	if k, ok := mon.(peer); ok {
		p.pid, p.uid, p.gid = k.Peer()
	}
	if p.pid <= 0 {
		return p
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		return p
	}
	for line := range bytes.Lines(status) {
		f := bytes.Fields(line)
		if len(f) < 5 {
			continue
		}
		id, err := strconv.Atoi(string(f[4])) // the one that counts for files
		switch {
		case err != nil:
		case string(f[0]) == "Uid:":
			p.uid = id
		case string(f[0]) == "Gid:":
			p.gid = id
		}
	}
	return p
}
