package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// noChangeScan backs an unchanged disk up once more, beside a bare loop that reads
// and hashes what is allocated of it.
func (b *bench) noChangeScan(ctx context.Context) error {
	const group = "no-change scan"
	if err := b.showDay(1); err != nil {
		return err
	}
	v, err := b.newVault(ctx, "vault")
	if err != nil {
		return err
	}
	defer v.remove()
	b.say("scan: the first backup")
	if _, err := v.backup(ctx); err != nil {
		return err
	}
	ours, loop, err := b.besideLoop(ctx, "scan", func() (cost, error) { return v.backup(ctx) }, "hashloop", b.image)
	if err != nil {
		return err
	}
	data, err := allocated(b.image)
	if err != nil {
		return err
	}
	b.table.compare(group, "rate", "MB/s", float64(data)/1e6/ours.Wall, float64(data)/1e6/loop.Wall, "read and hash", atLeast(0.7))
	b.table.compare(group, "CPU", "s", ours.CPU, loop.CPU, "read and hash", noTarget)
	b.table.memory(group, "scan", ours.Anon)
	return nil
}

const hashBlock = 64 << 10

// hashLoop is `bench hashloop FILE`: read and hash on all cores, nothing else.
func hashLoop(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: bench hashloop FILE")
	}
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	runs, err := dataRuns(f)
	if err != nil {
		return err
	}
	keys := content.Derive(content.NewSecret())
	ranges := make(chan [2]int64, 64)
	var failed atomic.Pointer[error]
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			buf := make([]byte, 1<<20)
			for r := range ranges {
				n, err := f.ReadAt(buf[:r[1]], r[0])
				if err != nil && err != io.EOF {
					failed.Store(&err)
				}
				for p := buf[:n]; len(p) > 0; p = p[min(hashBlock, len(p)):] {
					keys.ID(content.Block, p[:min(hashBlock, len(p))])
				}
			}
		})
	}
	for _, r := range runs {
		for off := r[0]; off < r[1]; off += 1 << 20 {
			ranges <- [2]int64{off, min(1<<20, r[1]-off)}
		}
	}
	close(ranges)
	workers.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// dataRuns are the ranges of a file that are not holes: from, to.
func dataRuns(f *os.File) (runs [][2]int64, err error) {
	for to := int64(0); ; {
		from, err := unix.Seek(int(f.Fd()), to, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return runs, nil
		}
		if err == nil {
			to, err = unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE)
		}
		if err != nil {
			return nil, fmt.Errorf("holes of %s: %w", f.Name(), err)
		}
		runs = append(runs, [2]int64{from, to})
	}
}

// allocated is the number of bytes of a file that are not holes.
func allocated(path string) (sum int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	runs, err := dataRuns(f)
	for _, r := range runs {
		sum += r[1] - r[0]
	}
	return sum, err
}

// isZero tells whether p is all zeros.
func isZero(p []byte) bool { return len(p) == 0 || p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1]) }
