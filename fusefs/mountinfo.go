package fusefs

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// mountEntry is a line of /proc/self/mountinfo, which is read without asking the
// file systems that it tells of.
type mountEntry struct {
	device string // major:minor
	path   string
	kind   string // file system type
	source string
}

// mounts returns what is mounted in this process's view, oldest first.
func mounts() ([]mountEntry, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read what is mounted: %w", err)
	}
	defer f.Close()
	return parseMounts(f)
}

// mountsAt returns what is mounted at path, oldest (lowest) first.
func mountsAt(path string) ([]mountEntry, error) {
	all, err := mounts()
	if err != nil {
		return nil, err
	}
	var at []mountEntry
	for _, m := range all {
		if m.path == path {
			at = append(at, m)
		}
	}
	return at, nil
}

// parseMounts leaves out lines that it does not understand.
func parseMounts(r io.Reader) ([]mountEntry, error) {
	var all []mountEntry
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		front, back, ok := strings.Cut(lines.Text(), " - ")
		f, b := strings.Fields(front), strings.Fields(back)
		if !ok || len(f) < 5 || len(b) < 2 {
			continue
		}
		all = append(all, mountEntry{device: f[2], path: unescape(f[4]), kind: b[0], source: unescape(b[1])})
	}
	return all, lines.Err()
}

// unescape undoes \040 and the like.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
