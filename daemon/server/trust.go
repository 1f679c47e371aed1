package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// What a client may name on the daemon's host. Whoever is not the daemon's own user or root
// could have it read or write a file, or run a command, that is not its own: it may not.

const pathHint = "run the command as root, or as the daemon's own user, on the daemon's host"

// localURIs are the libvirts that anybody may name: others (qemu+ssh://, ?command=) make
// virsh run what they say.
var localURIs = []string{"", "qemu:///system", "qemu:///session", "test:///default"}

func containsSlash(s string) bool { return strings.Contains(s, "/") }

// printable tells whether s is text without control characters.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// trustJob refuses paths in a request for a job.
func (c *call) trustJob(r *api.JobRequest) error {
	if c.who.Trusted {
		return nil
	}
	if p := vaultProblem(c.who, r.Vault); p != "" {
		return badRequest(422, "vault: "+p, "")
	}
	if b := r.Backup; b != nil {
		if len(b.Disks) > 0 {
			return forbidden("disks of a backup may not be named by "+c.who.Name, pathHint+"; or protect the machine first")
		}
		if b.Scratch.Folder != "" {
			return forbidden("a scratch folder may not be named by "+c.who.Name, pathHint)
		}
	}
	if r.Restore != nil {
		return c.restoreFolder(r.Restore.Folder)
	}
	return nil
}

// restoreFolder refuses a folder that lies below none of those that are for restores. Links
// are followed as far as the folder is there already.
func (c *call) restoreFolder(folder string) error {
	refused := forbidden(fmt.Sprintf("%s may not have the daemon restore into %q", c.who.Name, firstBytes(folder, 200)),
		"below one of the folders that `restore_folders` in the daemon's configuration names it may")
	if !filepath.IsAbs(folder) || !printable(folder) || filepath.Clean(folder) != folder {
		return refused
	}
	real, err := realPath(folder)
	if err != nil {
		return refused
	}
	if slices.ContainsFunc(c.s.c.RestoreFolders, func(top string) bool {
		top, err := filepath.EvalSymlinks(top)
		return err == nil && strings.HasPrefix(real, strings.TrimSuffix(top, "/")+"/")
	}) {
		return nil
	}
	return refused
}

// realPath follows the links in what is there of a path.
func realPath(path string) (string, error) {
	rest := ""
	for {
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		up := filepath.Dir(path)
		if up == path {
			return "", err
		}
		if !notThere(path) {
			return "", err // a link into nowhere, or what may not be looked at
		}
		path, rest = up, filepath.Join(filepath.Base(path), rest)
	}
}

// trustProtection refuses paths and commands in how a machine is to be backed up.
func (c *call) trustProtection(r *api.ProtectRequest) error {
	if c.who.Trusted {
		return nil
	}
	p := &r.Protection
	switch {
	case len(p.Images) > 0:
		return forbidden("images may not be named by "+c.who.Name, pathHint)
	case p.QMP != "" || p.QGA != "":
		return forbidden("sockets of QEMU may not be named by "+c.who.Name, pathHint)
	case !slices.Contains(localURIs, p.URI):
		return forbidden(fmt.Sprintf("%s may not name the libvirt at %q", c.who.Name, firstBytes(p.URI, 100)), pathHint)
	case strings.HasPrefix(r.Domain, "-"):
		return badRequest(422, "a domain's name does not begin with -", "")
	case p.Scratch != "" || r.Scratch.Folder != "":
		return forbidden("a scratch folder may not be named by "+c.who.Name, pathHint)
	case slices.ContainsFunc(p.Hooks, func(h api.Hook) bool { return h.Place != "guest" }):
		return forbidden("commands on the host may not be given by "+c.who.Name, pathHint)
	}
	return nil
}

// notThere tells whether there is nothing at path, not even a link.
func notThere(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}
