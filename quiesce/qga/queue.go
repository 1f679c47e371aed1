package qga

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
)

// queued tells whether a connection to the socket waits to be accepted: QEMU accepts
// one and leaves the next in the queue. /proc/net/unix shows a connection under the
// listener's name, in state 3 once it is accepted and in state 2 before.
// Where that cannot be read the answer is no.
func queued(socket string) bool {
	f, err := os.Open("/proc/net/unix")
	if err != nil {
		return false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.SplitN(strings.TrimSpace(s.Text()), " ", 8)
		if len(fields) < 8 || fields[5] != "02" {
			continue
		}
		// Num RefCount Protocol Flags Type St Inode Path; the inode is padded.
		_, path, _ := strings.Cut(strings.TrimLeft(fields[6]+" "+fields[7], " "), " ")
		path = strings.TrimSpace(path)
		if path == socket || !filepath.IsAbs(path) && filepath.Base(path) == filepath.Base(socket) {
			return true
		}
	}
	return false
}
