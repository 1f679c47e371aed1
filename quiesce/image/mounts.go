package image

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// mountUsers finds mounts of devs in one mount table. Some file systems show a
// made-up device number there: their source is looked at too.
func mountUsers(mountinfo string, devs map[device]bool, seen map[string]bool) []User {
	f, err := os.Open(mountinfo)
	if err != nil {
		return nil
	}
	defer f.Close()
	var users []User
	for lines := bufio.NewScanner(f); lines.Scan(); {
		m, ok := parseMount(lines.Text())
		if !ok {
			continue
		}
		uses := devs[m.dev]
		if !uses && strings.HasPrefix(m.source, "/dev/") {
			d, block, err := blockNumber(m.source)
			uses = err == nil && block && devs[d]
		}
		how := "mounted on " + m.point
		if uses && !seen[how] {
			seen[how] = true
			users = append(users, User{Command: "kernel", How: how})
		}
	}
	return users
}

// mount is one line of a mountinfo file.
type mount struct {
	dev           device
	point, source string
}

// parseMount reads one line of /proc/PID/mountinfo, which proc(5) describes.
func parseMount(line string) (mount, bool) {
	before, after, ok := strings.Cut(line, " - ")
	left, right := strings.Fields(before), strings.Fields(after)
	if !ok || len(left) < 5 || len(right) < 2 {
		return mount{}, false
	}
	dev, ok := parseDevice(left[2])
	return mount{dev: dev, point: unescape(left[4]), source: unescape(right[1])}, ok
}

// unescape undoes the octal escapes of files under /proc.
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
