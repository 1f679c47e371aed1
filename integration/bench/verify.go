package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/pierrec/lz4/v4"

	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// checkData examines a vault with all its data, beside a bare loop that reads the
// packs, decompresses and hashes on all cores.
func (b *bench) checkData(ctx context.Context) error {
	const group = "check --data"
	if err := b.showDay(1); err != nil {
		return err
	}
	v, err := b.newVault(ctx, "vault")
	if err != nil {
		return err
	}
	defer v.remove()
	b.say("check: the backup")
	if _, err := v.backup(ctx); err != nil {
		return err
	}
	packs := filepath.Join(v.path, "packs")
	ours, loop, err := b.besideLoop(ctx, "check", func() (cost, error) { return v.run(ctx, "check", "--data", "--quiet") }, "readloop", packs)
	if err != nil {
		return err
	}
	size, err := treeSize(packs)
	if err != nil {
		return err
	}
	b.table.compare(group, "rate of packs", "MB/s", float64(size)/1e6/ours.Wall, float64(size)/1e6/loop.Wall, "bare loop", atLeast(0.7))
	b.table.compare(group, "CPU", "s", ours.CPU, loop.CPU, "bare loop", noTarget)
	b.table.memory(group, "check", ours.Anon)
	return nil
}

// readLoop is `bench readloop FOLDER`: read, decompress and hash every record of the
// packs below a folder, on all cores, and nothing else. Any key costs the same.
func readLoop(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: bench readloop FOLDER")
	}
	keys := content.Derive(content.NewSecret())
	paths := make(chan string)
	var mu sync.Mutex
	var errs []error
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			buf, plain := make([]byte, 2<<20), make([]byte, pack.MaxContent)
			for path := range paths {
				if err := readPack(keys, path, buf, plain); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	err := filepath.WalkDir(args[0], func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			paths <- path
		}
		return err
	})
	close(paths)
	workers.Wait()
	return errors.Join(append(errs, err)...)
}

func readPack(keys *content.Keys, path string, buf, plain []byte) error {
	id, err := pack.ParseID(filepath.Base(path))
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	entries, err := pack.ReadFooter(f, st.Size(), id)
	if err != nil {
		return err
	}
	for i := 0; i < len(entries); {
		from, first := int64(entries[i].Offset), i
		for i < len(entries) && entries[i].End()-from <= int64(len(buf)) {
			i++
		}
		if _, err := f.ReadAt(buf[:entries[i-1].End()-from], from); err != nil {
			return err
		}
		for _, e := range entries[first:i] {
			rec := buf[int64(e.Offset)-from:][:e.Length]
			p, n := rec[pack.RecordHeaderSize:], int(binary.LittleEndian.Uint32(rec[16:]))
			if pack.Codec(rec[5]) == pack.LZ4 {
				if n, err = lz4.UncompressBlock(p, plain); err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
				p = plain
			}
			keys.ID(e.Kind, p[:n])
		}
	}
	return nil
}
