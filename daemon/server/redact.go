package server

import (
	"path/filepath"
	"slices"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// What a viewer does not see: names of files, and command lines. The fields stay, and are empty.

// pointWithoutFiles leaves the names of files out of a point.
func pointWithoutFiles(p *api.Point) {
	p.Config = []api.ConfigFile{}
	p.Disks = slices.Clone(p.Disks)
	for i := range p.Disks {
		p.Disks[i].Source = ""
	}
	if p.Quiesced != nil {
		q := *p.Quiesced
		q.Hooks = slices.Clone(q.Hooks)
		for i := range q.Hooks {
			q.Hooks[i].Command, q.Hooks[i].Error = "", ""
		}
		p.Quiesced = &q
	}
}

// machineWithoutFiles leaves paths and commands out of a machine.
func machineWithoutFiles(m *api.Machine) {
	if m.Protection == nil {
		return
	}
	p := *m.Protection
	p.URI, p.QMP, p.QGA, p.Scratch = "", "", "", ""
	p.Mounts = []string{}
	p.Images = slices.Clone(p.Images)
	for i := range p.Images {
		p.Images[i].Path, p.Images[i].Backing, p.Images[i].Unreadable = "", []string{}, ""
	}
	p.Hooks = slices.Clone(p.Hooks)
	for i := range p.Hooks {
		p.Hooks[i].Pre, p.Hooks[i].Post = "", ""
	}
	m.Protection = &p
}

// jobWithoutFiles leaves its result and log out of a job. Warnings and the error stay: they are why
// a viewer looks, and name a file of the host at most. A vault of which only the path is known goes by its last name.
func jobWithoutFiles(j *api.Job) {
	if j.Result, j.Log = nil, nil; filepath.IsAbs(j.Vault) {
		j.Vault = filepath.Base(j.Vault)
	}
}
