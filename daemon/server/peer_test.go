package server

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// connectAs connects to a Unix socket as another user: the system calls change one thread,
// which ends with the goroutine.
func connectAs(t *testing.T, path string, uid, gid int, groups []uint32) net.Conn {
	t.Helper()
	type result struct {
		fd  int
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		var list unsafe.Pointer
		if len(groups) > 0 {
			list = unsafe.Pointer(&groups[0])
		}
		for _, call := range [][3]uintptr{{unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(list)}, {unix.SYS_SETGID, uintptr(gid)}, {unix.SYS_SETUID, uintptr(uid)}} {
			if _, _, e := syscall.RawSyscall(call[0], call[1], call[2], 0); e != 0 {
				done <- result{-1, e}
				return
			}
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		}
		done <- result{fd, err}
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	f := os.NewFile(uintptr(r.fd), "socket")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestThePeerOfASocketIsWhomTheKernelSaysItIs(t *testing.T) {
	needRoot(t)
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip("there is no user nobody")
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	var many []uint32 // more than a first guess has room for
	for g := range uint32(200) {
		many = append(many, 60000+g)
	}
	mail, err := user.LookupGroup("mail")
	if err != nil {
		t.Skip("there is no group mail")
	}
	mailID, _ := strconv.Atoi(mail.Gid)
	for _, row := range []struct {
		name     string
		uid, gid int
		groups   []uint32
		grant    api.GrantRequest
		who      string
		roles    []string
	}{
		{"root", 0, 0, nil, api.GrantRequest{}, "root", []string{"admin"}},
		{"the daemon's user", 4242, 4242, nil, api.GrantRequest{}, "4242", []string{"admin"}},
		{"a stranger", uid, uid, nil, api.GrantRequest{}, "nobody", nil},
		{"a member of the group", uid, uid, append(slices.Clone(many), uint32(mailID)), api.GrantRequest{}, "nobody", []string{"viewer"}},
		{"whose own group it is", uid, mailID, nil, api.GrantRequest{}, "nobody", []string{"viewer"}},
		{"a user with a grant", uid, uid, nil, api.GrantRequest{Who: "nobody", Role: "restorer"}, "nobody", []string{"restorer"}},
		{"a number with a grant", 5151, 5151, nil, api.GrantRequest{Who: "5151", Role: "operator"}, "5151", []string{"operator"}},
		{"a group with a grant", 5151, 5151, many, api.GrantRequest{Who: "group:60199", Role: "operator"}, "5151", []string{"operator"}},
		{"somebody called like a group", 5151, 5151, nil, api.GrantRequest{Who: "group:5152", Role: "admin"}, "5151", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			st := newSite(t, func(c *Config) {
				c.Access, err = access.Open(t.TempDir(), access.Options{Group: "mail", UID: 4242})
				if err == nil && row.grant.Who != "" {
					_, err = c.Access.Grant(row.grant, "the test")
				}
				if err != nil {
					t.Fatal(err)
				}
			})
			path := st.run(t)
			openUp(t, path)
			conn := connectAs(t, path, row.uid, row.gid, row.groups)
			who := whoIs(t, conn)
			var roles []string
			for _, g := range who.Grants {
				roles = append(roles, g.Role)
			}
			if who.Name != row.who || !slices.Equal(roles, row.roles) || who.Trusted != (row.uid == 0 || row.uid == 4242) {
				t.Errorf("the daemon takes it for %+v", who)
			}
			if !strings.Contains(who.From, fmt.Sprint("process ", os.Getpid())) {
				t.Errorf("it came from %s", who.From)
			}
		})
	}
}
