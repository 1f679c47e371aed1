package qemu

import (
	"context"
	"fmt"
	"slices"
)

// features are what this QEMU can do beyond what every run needs.
type features struct {
	snapshots  bool // transaction, blockdev-backup, block-export-add
	fuse       bool // block-export-add can make a file of a node
	breaksSnap bool // blockdev-backup can be told to give up the snapshot and not the guest's write
}

// schemaEntry is one entry of query-qmp-schema, of which most names are numbers.
type schemaEntry struct {
	Name     string `json:"name"`
	MetaType string `json:"meta-type"`
	ArgType  string `json:"arg-type"`
	Members  []struct {
		Name string `json:"name"`
		Type string `json:"type"`
	} `json:"members"`
	Values   []string `json:"values"`
	Variants []struct {
		Case string `json:"case"`
	} `json:"variants"`
}

func readFeatures(ctx context.Context, m *Machine) (features, error) {
	var list []schemaEntry
	if err := m.do(ctx, "query-qmp-schema", nil, &list); err != nil {
		return features{}, fmt.Errorf("ask QEMU what it can do: %w", err)
	}
	entries := make(map[string]*schemaEntry, len(list))
	for i := range list {
		entries[list[i].Name] = &list[i]
	}
	command := func(name string) *schemaEntry {
		if c := entries[name]; c != nil && c.MetaType == "command" {
			return entries[c.ArgType]
		}
		return nil
	}
	var f features
	f.snapshots = true
	for _, name := range []string{"transaction", "blockdev-backup", "block-export-add", "block-dirty-bitmap-merge"} {
		f.snapshots = f.snapshots && command(name) != nil
	}
	if add := command("block-export-add"); add != nil {
		f.fuse = slices.ContainsFunc(add.Variants, func(v struct {
			Case string `json:"case"`
		}) bool {
			return v.Case == "fuse"
		})
	}
	f.breaksSnap = command("blockdev-backup").has("on-cbw-error")
	return f, nil
}

func (e *schemaEntry) has(member string) bool {
	if e == nil {
		return false
	}
	for _, m := range e.Members {
		if m.Name == member {
			return true
		}
	}
	return false
}
