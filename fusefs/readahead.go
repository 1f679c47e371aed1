package fusefs

import (
	"os"
	"strconv"
)

// raiseReadahead lets the kernel read ahead by that many bytes in the mount of
// that device (major:minor). The handshake cannot ask for more than 128 KiB. It
// takes root; whoever may not set it keeps the kernel's default.
func raiseReadahead(device string, bytes int) {
	file := "/sys/class/bdi/" + device + "/read_ahead_kb"
	_ = os.WriteFile(file, []byte(strconv.Itoa(bytes>>10)), 0)
}
