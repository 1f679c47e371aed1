package service

import (
	"path/filepath"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// What a protection may ask for at most.
const (
	MaxFreezeTimeout = 5 * time.Minute
	MaxHookTimeout   = time.Hour
)

// protectionOf returns the record that a request asks for, as far as the VM need not be asked.
func protectionOf(r api.ProtectRequest) (p blockstore.Protection, err error) {
	a := r.Protection
	p = blockstore.Protection{
		Exclude: a.Exclude, Shareable: a.Shareable, Mounts: a.Mounts, RawBitmaps: a.RawBitmaps, Samples: a.Samples, AcceptVSS: a.AcceptVSS,
		Consistency: blockstore.Consistency(a.Consistency), FallBack: a.Otherwise == "fall-back",
		Scratch: r.Scratch.Folder, ScratchCap: r.Scratch.Cap, ScratchFree: r.Scratch.LowWater,
	}
	ways := 0
	for _, given := range []bool{r.Domain != "", a.QMP != "", len(a.Images) > 0} {
		if given {
			ways++
		}
	}
	levels := []blockstore.Consistency{"", blockstore.Crash, blockstore.Filesystem, blockstore.Application}
	switch {
	case r.Name != "" && blockstore.CheckMachineName(r.Name) != nil:
		return p, invalidf("%s", blockstore.CheckMachineName(r.Name).Error())
	case ways != 1:
		return p, invalidf("a domain, a QMP socket or images say what the machine is: one of them")
	case r.Name == "" && len(a.Images) > 0:
		return p, invalidf("a machine of images needs a name: they do not say what it is called")
	case !slices.Contains(levels, p.Consistency):
		return p, invalidf("there is no consistency %.40q: crash, filesystem and application are", a.Consistency)
	case !slices.Contains([]string{"", "fail", "fall-back"}, a.Otherwise):
		return p, invalidf("otherwise is %.40q: fail or fall-back", a.Otherwise)
	}
	limit := func(seconds float64, most time.Duration) int64 {
		if d := time.Duration(seconds * float64(time.Second)); seconds < 0 || seconds > most.Seconds() || d > most {
			err = invalidf("a time-out of %gs: more than 0 and at most %v are possible", seconds, most)
		}
		return int64(seconds * 1000)
	}
	p.FreezeTimeout = limit(a.FreezeTimeout, MaxFreezeTimeout)
	for _, name := range a.Exclude {
		if err := blockstore.CheckDiskName(name); err != nil {
			return p, invalidf("%s", err.Error())
		}
	}
	for _, h := range a.Hooks {
		p.Hooks = append(p.Hooks, blockstore.Hook{Pre: h.Pre, Post: h.Post, Guest: h.Place == "guest", GoOn: h.ContinueOnFailure, Limit: limit(h.Timeout, MaxHookTimeout)})
	}
	if a.QMP != "" {
		p.QEMU = &blockstore.QEMUVM{QMP: a.QMP, QGA: a.QGA}
	}
	for _, i := range a.Images {
		if err := blockstore.CheckDiskName(i.Name); err != nil {
			return p, invalidf("%s", err.Error())
		}
		p.VM.Kind = blockstore.KindImages
		p.Images = append(p.Images, blockstore.ImageDisk{Name: i.Name, Path: i.Path, Format: i.Format, Backing: i.Backing})
	}
	for _, path := range append(placesOf(p), p.Scratch) {
		if path != "" && !filepath.IsAbs(path) {
			return p, invalidf("path %.200q does not begin with /", path)
		}
	}
	return p, err
}

// placesOf are the paths by which a machine is reached.
func placesOf(p blockstore.Protection) (paths []string) {
	if p.QEMU != nil {
		paths = append(paths, p.QEMU.QMP, p.QEMU.QGA)
	}
	for _, i := range p.Images {
		paths = append(append(paths, i.Path), i.Backing...)
	}
	return paths
}

// reachesHost names what of a request would let who asks use the rights of the daemon on its host;
// "" where nothing does.
func reachesHost(r api.ProtectRequest) string {
	p := r.Protection
	switch {
	case p.QMP != "" || p.QGA != "":
		return "a socket"
	case len(p.Images) > 0:
		return "an image"
	case len(p.Hooks) > 0:
		return "a hook"
	case r.Scratch != (api.Scratch{}):
		return "a scratch folder"
	case p.URI != "":
		return "a connection of libvirt"
	}
	return ""
}
