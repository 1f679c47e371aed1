package fusefs

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

const volumesJSONName = "volumes.json"

// volumesJSONNode is volumes.json: what [DescribeVolumes] says, made when first asked for
// its size. That opens each volume in turn.
type volumesJSONNode struct {
	fs.Inode
	t *tree
	p *blockstore.Point

	mu   sync.Mutex // guards text; held while it is made
	text []byte
}

var (
	_ fs.NodeGetattrer = (*volumesJSONNode)(nil)
	_ fs.NodeOpener    = (*volumesJSONNode)(nil)
)

func volumesJSONStable(p *blockstore.Point) fs.StableAttr {
	return fs.StableAttr{Mode: fuse.S_IFREG, Ino: ino(kindVolumesJSON, string(p.ID), "")}
}

func (n *volumesJSONNode) render() ([]byte, syscall.Errno) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.text != nil {
		return n.text, 0
	}
	// A guest of its own: what it opens is let go at once.
	g := OpenGuest(n.t.vault, n.p, guestfs.Options{Memory: volumeMemory, Formats: n.t.guests.formats, Keys: n.t.guests.keys})
	all := DescribeVolumes(g)
	for _, v := range g.Volumes() {
		if _, err := v.Identify(); passing(err) {
			return nil, n.t.errno(err, n.p, filesName+"/"+volumesJSONName)
		}
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return nil, n.t.errno(err, n.p, filesName+"/"+volumesJSONName)
	}
	n.text = append(text, '\n')
	return n.text, 0
}

func (n *volumesJSONNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	text, errno := n.render()
	if errno != 0 {
		return errno
	}
	n.t.file(&out.Attr, int64(len(text)), int64(len(text)), n.p.Time)
	out.SetTimeout(forever)
	return 0
}

func (n *volumesJSONNode) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	text, errno := n.render()
	return bytesFile(text), fuse.FOPEN_KEEP_CACHE, errno
}

// DescribeVolumes returns what lies on a guest's disks as programs see it. Volumes are
// opened one after the other, and dropped but for the guest's root.
func DescribeVolumes(g *guestfs.Guest) api.GuestVolumes {
	all := api.GuestVolumes{Volumes: []api.GuestVolume{}, Notes: texts(g.Notes())}
	root, _ := g.Root()
	for _, v := range g.Volumes() {
		all.Volumes = append(all.Volumes, describeVolume(v))
		if root == nil || root.Volume() != v {
			v.Drop()
		}
	}
	if root != nil {
		all.Root = describeRoot(root)
	}
	return all
}

func describeRoot(root *guestfs.View) *api.GuestRoot {
	a := &api.GuestRoot{Volume: root.Volume().Name, Mounts: []api.GuestMount{}, Notes: texts(root.Notes())}
	if drives := root.Drives(); len(drives) > 0 {
		a.Drive = drives[0]
	}
	for _, m := range root.Mounts() {
		one := api.GuestMount{At: text(m.Called), Device: text(m.Device)}
		if m.Volume != nil {
			one.Volume = m.Volume.Name
		}
		if m.Err != nil {
			one.Error = text(m.Err.Error())
		}
		a.Mounts = append(a.Mounts, one)
	}
	return a
}

func describeVolume(v *guestfs.Volume) api.GuestVolume {
	r := v.Report()
	a := api.GuestVolume{
		Name: v.Name, Type: r.Type, Label: text(r.Label), UUID: text(r.UUID), Size: r.Size, Journal: string(r.Journal),
		MountedAt: texts(r.MountedAt), Disk: v.Disk, Group: v.Group, Logical: v.Logical, On: texts(v.On),
		Readable: r.Err == nil, Notes: texts(r.Notes),
	}
	if r.Used >= 0 {
		a.Used = &r.Used
	}
	if r.Err != nil {
		a.Error = text(r.Err.Error())
		var u *guestfs.UnreadableError
		if errors.As(r.Err, &u) {
			a.Advice, a.Locked = u.Advice, u.Locked
		}
	}
	if p := v.Partition; p != nil {
		a.Partition = &api.GuestPartition{Scheme: string(v.Scheme), Number: p.Number, Offset: p.Off, Type: p.Type, UUID: p.UUID, Label: text(p.Label)}
	}
	return a
}

// text makes what a guest wrote fit for JSON.
func text(s string) string { return strings.ToValidUTF8(s, "�") }

func texts(list []string) []string {
	out := []string{}
	for _, s := range list {
		out = append(out, text(s))
	}
	return out
}
