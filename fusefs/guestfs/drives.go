package guestfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/part"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/registry"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/wtf8"
)

// Drives of Windows: its registry says which partition has which letter, and which the
// names of volumes mean that folders are mounted by. In the view they are mounted at
// "/D:" and at "/volume{...}", which no file of Windows can be called.
const (
	systemHive     = "Windows/System32/config/SYSTEM"
	mountedDevices = "MountedDevices"
	letterPrefix   = `\DosDevices\`
	volumePrefix   = `\??\Volume{`

	maxDevices  = 1024
	maxDeviceID = 4096 // bytes
	maxHive     = 1 << 30
)

// addDrives reads the letters of the Windows that lies in w. Without them the volume of
// Windows is C:, and why stands in the notes.
func (w *View) addDrives(g *Guest) {
	w.system, w.mounts = 'C', map[string]*mount{}
	devices, err := w.mountedDevices()
	if err != nil {
		w.noDrives = err
		w.notes = append(w.notes, fmt.Sprintf("the letters of drives are not known: %v", err))
		return
	}
	own := byte(0)
	for _, d := range devices {
		if v, err := g.partition(d.id); d.letter != 0 && err == nil && v == w.root && (own == 0 || d.letter == 'C') {
			own = d.letter
		}
	}
	if own != 0 {
		w.system = own
	}
	for _, d := range devices {
		dir := d.dir()
		if dir == w.drive(w.system) {
			continue
		}
		w.mounts[dir] = &mount{fstabEntry{device: describeDevice(d.id), dir: dir}, sync.OnceValues(func() (*Volume, error) { return g.partition(d.id) })}
	}
}

// device is a line of the registry's list: a letter or a volume's name, and what it is of.
type device struct {
	letter byte
	volume string // volume{...} in lower case
	id     []byte
}

func (d device) dir() string {
	if d.letter != 0 {
		return "/" + string(d.letter) + ":"
	}
	return "/" + d.volume
}

func (w *View) mountedDevices() ([]device, error) {
	at, err := w.Resolve(systemHive)
	if err != nil {
		return nil, err
	}
	f, size, err := at.Open()
	if err != nil {
		return nil, err
	}
	hive, err := registry.Open(f, min(size, maxHive))
	if err != nil {
		return nil, err
	}
	if hive.Dirty {
		w.notes = append(w.notes, "the letters of drives are as of when Windows last wrote out its registry, whose logs are not applied")
	}
	k, err := hive.Find(mountedDevices)
	if err != nil {
		return nil, err
	}
	var all []device
	for v, err := range k.Values() {
		if err != nil || len(all) == maxDevices {
			w.notes = append(w.notes, joinNonEmpty(": ", "not all letters of drives can be read", textOf(err)))
			if err == nil {
				break
			}
			continue
		}
		d, ok := parseDevice(v.Name)
		if !ok || v.Size() > maxDeviceID {
			continue
		}
		if d.id, err = v.Data(); err == nil {
			all = append(all, d)
		}
	}
	return all, nil
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func parseDevice(name string) (d device, ok bool) {
	if rest, is := cutFold(name, letterPrefix); is && len(rest) == 2 && rest[1] == ':' && isLetter(rest[0]) {
		return device{letter: rest[0] &^ 0x20}, true
	}
	if _, is := cutFold(name, volumePrefix); is && strings.HasSuffix(name, "}") && len(name) < 64 {
		return device{volume: strings.ToLower(name[len(`\??\`):])}, true
	}
	return d, false
}

func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// Kinds of what the registry knows a volume by: the signature of an MBR and the place of
// a partition on that disk, in 12 bytes; the UUID of one in a GPT; a path of a device.
const gptDevice = "DMIO:ID:"

// partition finds the volume that the registry means.
func (g *Guest) partition(id []byte) (*Volume, error) {
	var is func(v *Volume) bool
	switch {
	case len(id) == 12:
		signature, off := fmt.Sprintf("%08x-", binary.LittleEndian.Uint32(id)), int64(binary.LittleEndian.Uint64(id[4:]))
		is = func(v *Volume) bool {
			return v.Scheme == part.MBR && v.Partition.Off == off && strings.HasPrefix(v.Partition.UUID, signature)
		}
	case len(id) == len(gptDevice)+16 && string(id[:len(gptDevice)]) == gptDevice:
		uuid := guid(id[len(gptDevice):])
		is = func(v *Volume) bool { return v.Scheme == part.GPT && strings.EqualFold(v.Partition.UUID, uuid) }
	default:
		return nil, &NotInPointError{What: describeDevice(id), Why: "it is none of the machine's disks"}
	}
	for _, v := range g.Volumes() {
		if v.Partition != nil && is(v) {
			return g.content(v).shownBy(), nil
		}
	}
	return nil, &NotInPointError{What: describeDevice(id), Why: joinNonEmpty("; ", "no volume on its disks is that one", leftOut(g.o.Missing))}
}

// content is what lies on a volume, where that is one volume of its own: what was
// encrypted, and was opened.
func (g *Guest) content(v *Volume) *Volume {
	for range maxLayers {
		i := slices.IndexFunc(g.volumes, func(u *Volume) bool { return len(u.On) == 1 && u.On[0] == v.Name })
		if i < 0 {
			break
		}
		v = g.volumes[i]
	}
	return v
}

// guid prints one as GPTs have it: its first three numbers with the lowest byte first.
func guid(b []byte) string {
	le := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:]), b[8:10], b[10:16])
}

// describeDevice is what a volume is known by, for people.
func describeDevice(id []byte) string {
	switch {
	case len(id) == 12:
		return fmt.Sprintf("the partition at %d of the disk with signature %08x", binary.LittleEndian.Uint64(id[4:]), binary.LittleEndian.Uint32(id))
	case len(id) == len(gptDevice)+16 && string(id[:len(gptDevice)]) == gptDevice:
		return "partition " + guid(id[len(gptDevice):])
	}
	return fmt.Sprintf("device %.120q", wtf8.Decode(id[:len(id)&^1]))
}

// Drives are the letters of a Windows guest, its own first; nil of others.
func (w *View) Drives() []string {
	if !w.windows {
		return nil
	}
	var others []string
	for dir := range w.mounts {
		if isDrive(dir) {
			others = append(others, dir[1:])
		}
	}
	slices.Sort(others)
	return append([]string{string(w.system) + ":"}, others...)
}

// isDrive tells a path at which a drive is mounted.
func isDrive(at string) bool { return len(at) == 3 && at[0] == '/' && at[2] == ':' }

// drive is the path at which a letter is mounted; the system's own is the root.
func (w *View) drive(letter byte) string { return "/" + string(letter) + ":" }

// windowsPath makes of a path of Windows one of the view: "D:\x" lies in what is mounted
// at "/D:". A letter that the registry does not have is a *NotInPointError.
func (w *View) windowsPath(name string) (string, error) {
	name = strings.TrimPrefix(strings.ReplaceAll(name, `\`, "/"), "/??/")
	if !w.windows {
		return name, nil
	}
	bare := strings.TrimPrefix(name, "/")
	if _, is := cutFold(bare, "volume{"); is {
		if end := strings.IndexByte(bare, '}'); end > 0 {
			return w.volumePath(strings.ToLower(bare[:end+1]), bare[end+1:])
		}
	}
	if len(bare) < 2 || bare[1] != ':' || !isLetter(bare[0]) || len(bare) > 2 && bare[2] != '/' && strings.HasPrefix(name, "/") {
		return name, nil
	}
	letter, rest := bare[0]&^0x20, "/"+bare[2:]
	switch {
	case letter == w.system:
		return rest, nil
	case w.mounts[w.drive(letter)] != nil:
		return w.drive(letter) + rest, nil
	case w.noDrives != nil:
		return "", &NotInPointError{What: bare[:2], Why: fmt.Sprintf("which volume has that letter is not known (%v); name the volume instead", w.noDrives)}
	}
	return "", &NotInPointError{What: bare[:2], Why: "the guest has no drive of that letter; it has " + strings.Join(w.Drives(), ", ")}
}

// volumePath is windowsPath of what begins with the name of a volume.
func (w *View) volumePath(volume, rest string) (string, error) {
	m := w.mounts["/"+volume]
	if m == nil {
		return "", &NotInPointError{What: volume, Why: "the registry does not say which volume that is"}
	}
	if v, err := m.find(); err == nil && v == w.root {
		return "/" + rest, nil
	} else if err != nil && !errors.As(err, new(*NotInPointError)) {
		return "", err
	}
	return "/" + volume + "/" + rest, nil
}
