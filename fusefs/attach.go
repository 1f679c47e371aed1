package fusefs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The library is given a connection that is mounted already. That way errors of
// mount(2) and of fusermount3 reach the caller as errors, and the descriptor is
// closed on exec from its first moment: a child that inherited it would keep a
// dead mount waiting instead of failing.

const noDevice = "install FUSE (package fuse3), load its module (modprobe fuse); in a container, start it with --device /dev/fuse"

// attach mounts a connection at path and returns its descriptor: by mount(2)
// where this process may, else by fusermount3.
func attach(ctx context.Context, path string, o *Options) (int, error) {
	var direct error
	if os.Geteuid() == 0 && !o.helperOnly {
		fd, err := attachDirect(path, o)
		if err == nil {
			return fd, nil
		}
		direct = err
	}
	if o.shared() && os.Geteuid() != 0 && !otherAllowed("/etc/fuse.conf") {
		return -1, errors.New("other users may not be let in: ask the administrator to put the line user_allow_other into /etc/fuse.conf, or mount as root")
	}
	fd, err := attachByHelper(ctx, path, o)
	if err != nil && direct != nil {
		return -1, fmt.Errorf("%w; then by fusermount3: %w", direct, err)
	}
	return fd, err
}

func attachDirect(path string, o *Options) (int, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open /dev/fuse: %w: %s", err, noDevice)
	}
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,%s",
		fd, os.Geteuid(), os.Getegid(), strings.Join(kernelOptions(o), ","))
	flags := uintptr(unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if err := unix.Mount(o.FsName, path, fsType, flags, data); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("mount: %w", err)
	}
	return fd, nil
}

// kernelOptions are those that mount(2) and fusermount3 understand alike.
// default_permissions has the kernel judge by owners and modes: those of guests' files
// are the guest's. The mounting user alone may read all of them, whatever they say.
func kernelOptions(o *Options) []string {
	opts := []string{fmt.Sprintf("max_read=%d", maxRead)}
	if o.shared() {
		opts = append(opts, "default_permissions", "allow_other")
	}
	return opts
}

// attachByHelper lets fusermount3 mount; it hands the descriptor over through a
// socket.
func attachByHelper(ctx context.Context, path string, o *Options) (int, error) {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return -1, fmt.Errorf("there is no /dev/fuse: %s", noDevice)
	}
	helper, err := fusermount()
	if err != nil {
		return -1, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("make a socket for fusermount3: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "fusermount3's")
	defer ours.Close()
	opts := append(kernelOptions(o), "ro", "nosuid", "nodev", "noexec", "fsname="+o.FsName, "subtype="+subtype)
	cmd := exec.CommandContext(ctx, helper, "-o", strings.Join(opts, ","), "--", path)
	cmd.Env = append(os.Environ(), "_FUSE_COMMFD=3")
	cmd.ExtraFiles = []*os.File{theirs}
	out, err := cmd.CombinedOutput()
	theirs.Close()
	if err != nil {
		return -1, fmt.Errorf("fusermount3: %s (%w)", bytes.TrimSpace(out), err)
	}
	return receive(pair[0])
}

// receive takes the descriptor that fusermount3 sent.
func receive(socket int) (int, error) {
	buf, rights := make([]byte, 16), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, buf, rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("receive the connection from fusermount3: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return -1, errors.New("receive the connection from fusermount3: it sent none")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, errors.New("receive the connection from fusermount3: it sent none")
	}
	return fds[0], nil
}

// detach unmounts path; lazily: takes it out of sight now, and ends it when its
// last user lets go. EBUSY tells that somebody uses it.
func detach(ctx context.Context, path string, lazily bool) error {
	flags, arg := unix.UMOUNT_NOFOLLOW, "-u"
	if lazily {
		flags, arg = flags|unix.MNT_DETACH, "-uz"
	}
	err := unix.Unmount(path, flags)
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	helper, err := fusermount()
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, helper, arg, "--", path).CombinedOutput()
	if err == nil {
		return nil
	}
	if bytes.Contains(bytes.ToLower(out), []byte("busy")) {
		return syscall.EBUSY
	}
	return fmt.Errorf("fusermount3 %s: %s (%w)", arg, bytes.TrimSpace(out), err)
}

// fusermount finds the program that mounts for users who are not root.
func fusermount() (string, error) {
	for _, name := range []string{"fusermount3", "/usr/bin/fusermount3", "/bin/fusermount3", "fusermount"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("fusermount3 is missing: install it (Debian, Ubuntu, Fedora: package fuse3), or mount as root")
}

// otherAllowed tells whether conf, /etc/fuse.conf, lets users open their mounts
// to others.
func otherAllowed(conf string) bool {
	text, err := os.ReadFile(conf)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if strings.TrimSpace(line) == "user_allow_other" {
			return true
		}
	}
	return false
}
