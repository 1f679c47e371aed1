package qemu

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// rawFile is a disk read directly.
type rawFile struct {
	*os.File
	size int64
}

func (f rawFile) Size() int64 { return f.size }

func (f rawFile) Extents(ctx context.Context, fn func(blockstore.Extent) error) error {
	e := &Export{size: f.size, zeros: &teller{from: holes{f.File}, context: "base:allocation", known: true}}
	return e.Extents(ctx, fn)
}

// benchDisk makes a disk of 1 GiB, three quarters of it data of which half compresses.
func benchDisk(b *testing.B, path string) {
	b.Helper()
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	random := rand.NewChaCha8([32]byte{7})
	block := make([]byte, 64<<10)
	for at := int64(0); at < 1<<30; at += int64(len(block)) {
		if at/int64(len(block))%4 == 3 {
			continue
		}
		random.Read(block)
		for i := range block[:len(block)/2] {
			block[i] = "abcdefgh"[block[i]&7]
		}
		if _, err := f.WriteAt(block, at); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Truncate(1 << 30); err != nil {
		b.Fatal(err)
	}
}

func benchMachine(b *testing.B) *vm {
	v := boot(b, func(folder string) []string {
		benchDisk(b, filepath.Join(folder, "one.raw"))
		return diskArgs(b, folder, "one", "raw")
	})
	v.m.opts.Interval = defaultInterval
	return v
}

// cpuSeconds that this process and QEMU have used: with both on two processors, the sum
// tells more than the clock of a machine that others use too.
func cpuSeconds(b *testing.B, v *vm) float64 {
	b.Helper()
	ticks := int64(0)
	for _, pid := range []int{os.Getpid(), v.cmd.Process.Pid} {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			b.Fatal(err)
		}
		_, rest, _ := cutLast(string(stat), ")")
		for _, field := range strings.Fields(rest)[11:13] { // user, system
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			ticks += n
		}
	}
	return float64(ticks) / 100
}

// store takes a source into a new vault.
func store(b *testing.B, v *vm, src blockstore.Source) {
	b.Helper()
	b.StopTimer()
	ctx, vault := context.Background(), filepath.Join(shortFolder(b), "vault")
	if _, err := blockstore.Create(ctx, vault, blockstore.CreateOptions{}); err != nil {
		b.Fatal(err)
	}
	owner, err := blockstore.Own(ctx, vault, blockstore.OwnOptions{MinFree: -1})
	if err != nil {
		b.Fatal(err)
	}
	backup, err := owner.Begin(ctx, blockstore.BackupOptions{Machine: "m", Time: time.Now(), Asked: blockstore.Crash, Reached: blockstore.Crash})
	if err != nil {
		b.Fatal(err)
	}
	before := cpuSeconds(b, v)
	b.StartTimer()
	err = backup.AddDisk(ctx, blockstore.DiskInfo{Name: "vda", Size: src.Size(), Format: "raw"}, src, nil)
	b.StopTimer()
	b.ReportMetric(cpuSeconds(b, v)-before, "cpu-s")
	backup.Abort()
	owner.Close()
	os.RemoveAll(vault)
	if err != nil {
		b.Fatal(err)
	}
	b.StartTimer()
}

// BenchmarkFullBackup stores a disk of 1 GiB, directly from its file and from a
// snapshot over NBD.
func BenchmarkFullBackup(b *testing.B) {
	v := benchMachine(b)
	f, err := os.Open(filepath.Join(v.folder, "one.raw"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.Run("file", func(b *testing.B) {
		b.SetBytes(1 << 30)
		for b.Loop() {
			store(b, v, rawFile{f, 1 << 30})
		}
	})
	b.Run("nbd", func(b *testing.B) {
		s := v.snapshot(SnapshotRequest{Disks: both()[:1], Point: bitmapOf("p1")})
		defer v.release(s, false)
		b.SetBytes(1 << 30)
		for b.Loop() {
			store(b, v, s.Disks[0])
		}
	})
	b.Run("nbd-only", func(b *testing.B) {
		s := v.snapshot(SnapshotRequest{Disks: both()[:1], Point: bitmapOf("p1")})
		defer v.release(s, false)
		b.SetBytes(1 << 30)
		before := cpuSeconds(b, v)
		for b.Loop() {
			pull(b, s.Disks[0], 0)
		}
		b.ReportMetric((cpuSeconds(b, v)-before)/float64(b.N), "cpu-s")
	})
}

// pull reads all data, at a rate in bytes a second unless that is 0.
func pull(tb testing.TB, src blockstore.Source, rate int64) {
	buf := make([]byte, 1<<20)
	err := src.Extents(context.Background(), func(e blockstore.Extent) error {
		for at := e.Offset; at < e.End() && e.Kind == blockstore.Data; at += int64(len(buf)) {
			n := min(int64(len(buf)), e.End()-at)
			if _, err := src.ReadAt(buf[:n], at); err != nil && err != io.EOF {
				return err
			}
			if rate > 0 {
				time.Sleep(time.Duration(n * int64(time.Second) / rate))
			}
		}
		return nil
	})
	if err != nil {
		tb.Log(err)
	}
}

// BenchmarkWritesOfTheGuest tells how long writes of 4 KiB take, through QEMU's monitor, while a
// snapshot is read.
func BenchmarkWritesOfTheGuest(b *testing.B) {
	v := benchMachine(b)
	for _, c := range []struct {
		name     string
		snapshot bool
		read     bool
		rate     int64
	}{{"no snapshot", false, false, 0}, {"unread", true, false, 0}, {"read", true, true, 0}, {"read at 20 MB a second", true, true, 20e6}} {
		b.Run(c.name, func(b *testing.B) {
			if c.snapshot {
				s := v.snapshot(SnapshotRequest{Disks: both()[:1], Point: bitmapOf("p1")})
				done := make(chan struct{})
				defer func() { s.Release(context.Background(), false); <-done }()
				go func() {
					defer close(done)
					if c.read {
						pull(b, s.Disks[0], c.rate)
					}
				}()
			}
			var took []time.Duration
			for i := int64(0); b.Loop(); i++ {
				began := time.Now()
				v.io("one", "write -P 1 "+dec(i*7919%16384*65536)+" 4096")
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
		})
	}
}

// BenchmarkTheMoment tells how long a guest would have to hold still.
func BenchmarkTheMoment(b *testing.B) {
	v := boot(b, twoDisks(b))
	var held time.Duration
	parent := ""
	for i := 0; b.Loop(); i++ {
		point := bitmapOf(fmt.Sprintf("p%d", i))
		s := v.snapshot(SnapshotRequest{Disks: both(), Parent: parent, Point: point,
			Hold: func(ctx context.Context, during func(context.Context) error) error {
				began := time.Now()
				defer func() { held += time.Since(began) }()
				return during(ctx)
			}})
		v.release(s, true)
		parent = point
	}
	b.ReportMetric(float64(held.Microseconds())/float64(b.N), "held-us")
}
