package guestfs

import (
	"errors"
	"slices"
	"strings"
)

// Mount is a place of the guest's root at which another volume is, as its fstab or
// registry says.
type Mount struct {
	At     string  // the path in the view: /var, /D:
	Called string  // as the guest calls it: /var, D:
	Device string  // by the guest's name for it
	Volume *Volume // nil where the point does not hold it
	Err    error   // why not
}

// Mounts are what the guest's root is put together from, beside its own volume, by path.
// What it may well have run without (noauto) is among them only where it is there. No file
// system is opened but for a label that stands nowhere else.
func (w *View) Mounts() []Mount {
	var all []Mount
	for at, m := range w.mounts {
		if strings.HasPrefix(at, "/volume{") {
			continue
		}
		_, v, err := w.mounted(at)
		if v != nil || err != nil {
			all = append(all, Mount{At: at, Called: w.shownAs(at), Device: m.device, Volume: v, Err: err})
		}
	}
	slices.SortFunc(all, func(a, b Mount) int { return strings.Compare(a.At, b.At) })
	return all
}

// Mounted returns the top folder of what is mounted at a path of the view, which has no
// links in it. Where nothing is there, or nothing that the point holds, ok is false; then
// err says why it is not there, if it should be.
func (w *View) Mounted(at string) (p Place, ok bool, err error) {
	if at == "/" || w.windows && at == w.drive(w.system) {
		p, err = w.Root()
		return p, err == nil, err
	}
	m, v, err := w.mounted(at)
	if m == nil || err != nil {
		return Place{}, false, err
	}
	p, err = w.top(v, m, at)
	if errors.As(err, new(*NotInPointError)) && m.has("noauto") {
		err = nil
	}
	return p, err == nil, err
}

// LeadsToMounts tells whether something is mounted below a folder of the view.
func (w *View) LeadsToMounts(at string) bool {
	if w.windows { // its drives are in no folder
		return false
	}
	at = strings.TrimSuffix(at, "/") + "/"
	for dir := range w.mounts {
		if strings.HasPrefix(dir, at) {
			return true
		}
	}
	return false
}

// Notes say what a person should know of how the view was put together.
func (w *View) Notes() []string { return w.notes }
