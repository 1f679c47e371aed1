package qemu

import (
	"context"
	"errors"
	"strings"

	"github.com/holdfast-backup/holdfast/quiesce/qmp"
)

// belowFilters finds the disk below each filter of ours that hides it.
func (m *Machine) belowFilters(ctx context.Context, drives []drive) (map[string]string, error) {
	hidden := false
	for _, d := range drives {
		hidden = hidden || d.Inserted != nil && ours(d.Inserted.Node)
	}
	if !hidden {
		return nil, nil
	}
	below, err := m.childNodes(ctx, "file")
	var refusal *qmp.Error
	if errors.As(err, &refusal) {
		return nil, nil // the command is meant for developers, and may vanish
	}
	return below, err
}

// childNodes maps the names of nodes of ours to the node that hangs below each by an edge
// of that name.
func (m *Machine) childNodes(ctx context.Context, edge string) (map[string]string, error) {
	var graph struct {
		Nodes []struct {
			ID   uint64 `json:"id"`
			Name string `json:"name"`
		} `json:"nodes"`
		Edges []struct {
			Parent uint64 `json:"parent"`
			Child  uint64 `json:"child"`
			Name   string `json:"name"`
		} `json:"edges"`
	}
	if err := m.do(ctx, "x-debug-query-block-graph", nil, &graph); err != nil {
		return nil, err
	}
	names := map[uint64]string{}
	for _, n := range graph.Nodes {
		names[n.ID] = n.Name
	}
	below := map[string]string{}
	for _, e := range graph.Edges {
		if e.Name == edge && ours(names[e.Parent]) {
			below[names[e.Parent]] = names[e.Child]
		}
	}
	return below, nil
}

// unseen lists devices that may be disks and that QEMU only passes on.
func (m *Machine) unseen(ctx context.Context) []Disk {
	var disks []Disk
	for _, d := range m.devices(ctx) {
		if !strings.HasPrefix(d.class, "vfio-pci") && !strings.HasPrefix(d.class, "vhost-user-blk") &&
			!strings.HasPrefix(d.class, "vhost-vdpa") {
			continue
		}
		_, name, _ := cutLast(d.path, "/")
		disks = append(disks, Disk{
			Name: name, QDev: d.path, Bus: d.class, BootIndex: -1, Impossible: true,
			LeftOut: "passed through (" + d.class + "): if it is a disk, QEMU does not see what is written to it",
		})
	}
	return disks
}
