package access

import (
	"encoding/binary"
	"fmt"
	"net"
	"os/user"
	"slices"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// PeerCred is what the kernel says of the process that connected a Unix socket: as it was
// then, whatever it became.
type PeerCred struct {
	PID  int
	UID  uint32
	GIDs []uint32 // its group and those that it is in besides
}

// Credentials asks the kernel who is at the other end of a Unix socket.
func Credentials(c *net.UnixConn) (PeerCred, error) {
	var (
		cred   *unix.Ucred
		groups []uint32
		failed error
	)
	raw, err := c.SyscallConn()
	if err != nil {
		return PeerCred{}, fmt.Errorf("ask for the peer's credentials: %w", err)
	}
	err = raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if failed == nil {
			groups, failed = peerGroups(int(fd))
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return PeerCred{}, fmt.Errorf("ask for the peer's credentials: %w", err)
	}
	p := PeerCred{PID: int(cred.Pid), UID: cred.Uid, GIDs: []uint32{cred.Gid}}
	for _, g := range groups {
		if !slices.Contains(p.GIDs, g) {
			p.GIDs = append(p.GIDs, g)
		}
	}
	return p, nil
}

// peerGroups reads SO_PEERGROUPS (Linux 4.13), for which x/sys has no call: the
// supplementary groups that the peer had when it connected. /proc/PID would tell of
// whoever has that number now.
func peerGroups(fd int) ([]uint32, error) {
	buf := make([]byte, 4*64)
	for {
		size := uint32(len(buf))
		_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case e == syscall.ERANGE && int(size) > len(buf) && size <= 4*65536:
			buf = make([]byte, size)
			continue
		case e == syscall.ENOPROTOOPT:
			return nil, nil // an older kernel: its own group is all that is known
		case e != 0:
			return nil, e
		}
		var groups []uint32
		for b := buf[:min(int(size), len(buf))]; len(b) >= 4; b = b[4:] {
			groups = append(groups, binary.NativeEndian.Uint32(b))
		}
		return groups, nil
	}
}

// Identity is who a peer is, by name; it holds for a connection, while grants may change.
type Identity struct {
	name    string
	groups  []string
	names   []string // all that grants may call it
	from    string
	pid     int
	trusted bool
}

// Identify finds the names of a peer, in the system's directory of users; it takes as
// long as that does.
func (s *Store) Identify(c PeerCred) Identity {
	number := strconv.FormatUint(uint64(c.UID), 10)
	id := Identity{name: number, names: []string{number}, pid: c.PID, from: fmt.Sprintf("process %d of user %s", c.PID, number),
		trusted: c.UID == 0 || int64(c.UID) == int64(s.o.UID)}
	if u, err := user.LookupId(number); err == nil {
		if who, err := ParseWho("user:" + u.Username); err == nil {
			id.name, id.names = who, append(id.names, who)
		}
	}
	for _, gid := range c.GIDs {
		group := "group:" + strconv.FormatUint(uint64(gid), 10)
		id.names = append(id.names, group)
		if found, err := user.LookupGroupId(strconv.FormatUint(uint64(gid), 10)); err == nil {
			group = "group:" + found.Name
		}
		id.groups = append(id.groups, group)
	}
	id.names = append(id.names, id.groups...)
	return id
}

// Peer returns what a peer may do now. Root and the daemon's own user are admins; members
// of the group have the role that the options give it; besides, each has what was granted
// to it by name or number, or to one of its groups.
func (s *Store) Peer(id Identity) *Principal {
	p := &Principal{Name: id.name, Groups: id.groups, From: id.from, PID: id.pid, Trusted: id.trusted, names: id.names}
	if p.Trusted {
		p.fixed = append(p.fixed, api.Grant{Who: p.Name, Role: string(Admin), Machines: []string{All}, Fixed: true})
	}
	if slices.Contains(p.Groups, "group:"+s.o.Group) {
		p.fixed = append(p.fixed, s.groupGrant()...)
	}
	p, _ = s.Again(p) // it bears no token that could have ended
	return p
}
