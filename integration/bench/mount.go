package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/integration/bench/memfs"
)

const (
	mountRegion = 1536 << 20 // bytes from the disk's start that are read
	randomTime  = 3 * time.Second
	randomPage  = 4 << 10
)

// served is one of the mounts that are compared.
type served struct {
	name   string
	start  func(context.Context) (*server, string, error)
	rate   float64 // MB/s, the best
	random float64 // reads a second, the best
	once   float64 // the same of one page of each block
	anon   int64
}

// mount reads the disk through our mount, borg's, and one that serves memory. Each
// measure has a mount of its own, so that no cache is warm.
func (b *bench) mount(ctx context.Context) error {
	const group = "mount"
	b.say("mount: the backups")
	s, err := b.withFirstDay(ctx)
	if err != nil {
		return err
	}
	defer s.remove()
	pages, err := b.dataPages()
	if err != nil {
		return err
	}
	mounts := b.mounts(s)
	for round := range b.rounds {
		for _, m := range mounts {
			b.say("mount, round %d of %d: %s", round+1, b.rounds, m.name)
			if err := b.measureMount(ctx, m, pages); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			b.say("  %6.0f MB/s, %6.0f and %6.0f random reads/s, RssAnon %s", m.rate, m.random, m.once, mib(m.anon))
		}
	}
	ours, memory := mounts[0], mounts[1]
	for _, peer := range mounts[2:] {
		b.table.compare(group, "sequential read", "MB/s", ours.rate, peer.rate, peer.name, atLeast(3))
		b.table.compare(group, "random 4 KiB reads", "/s", ours.random, peer.random, peer.name, noTarget)
		b.table.compare(group, "the same, one of each block", "/s", ours.once, peer.once, peer.name, noTarget)
	}
	b.table.compare(group, "sequential read", "MB/s", ours.rate, memory.rate, memory.name, atLeast(0.55))
	b.table.compare(group, "random 4 KiB reads", "/s", ours.random, memory.random, memory.name, atLeast(0.35))
	b.table.compare(group, "the same, one of each block", "/s", ours.once, memory.once, memory.name, atLeast(0.35))
	b.table.memory(group, "reads", ours.anon)
	return b.copyOut(ctx, group, s.ours)
}

// mounts are ours, memory, and borg's where it is installed.
func (b *bench) mounts(s stores) []*served {
	mounts := []*served{
		{name: "ours", start: s.ours.mount},
		{name: "file from memory", start: b.mountMemory},
	}
	if s.borg != nil {
		mounts = append(mounts, &served{name: "borg", start: func(ctx context.Context) (*server, string, error) {
			return s.borg.mount(ctx, "day1")
		}})
	}
	return mounts
}

func (b *bench) mountMemory(ctx context.Context) (*server, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	at := filepath.Join(b.store, "memory.mount")
	s, err := serve(ctx, command{args: []string{self, "memfs", at, b.image, fmt.Sprint(mountRegion)}}, at)
	return s, filepath.Join(at, memfs.Name), err
}

// measureMount has the kernel keep what is read on memory that was used before, as
// everywhere: fresh memory costs more than the reading.
func (b *bench) measureMount(ctx context.Context, m *served, pages []int64) error {
	for _, read := range []func(*os.File) error{
		func(f *os.File) error {
			rate, err := readThrough(f, mountRegion)
			m.rate = max(m.rate, rate)
			return err
		},
		func(f *os.File) error { n, err := readRandomly(f, pages); m.random = max(m.random, n); return err },
		func(f *os.File) error {
			n, err := readRandomly(f, onePerBlock(pages))
			m.once = max(m.once, n)
			return err
		},
	} {
		s, path, err := m.start(ctx)
		if err != nil {
			return err
		}
		if err = b.touch(mountRegion + mountRegion/8); err == nil {
			err = withFile(path, read)
		}
		anon, endErr := s.end()
		m.anon = max(m.anon, anon)
		if err != nil {
			return err
		}
		if endErr != nil {
			return endErr
		}
	}
	return nil
}

// withFile opens a file in a mount, which may need a moment to show it.
func withFile(path string, do func(*os.File) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return do(f)
}

// readThrough reads so many bytes from the start, 1 MiB at a time, and returns MB/s.
func readThrough(f *os.File, bytes int64) (float64, error) {
	start := time.Now()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.NewSectionReader(f, 0, bytes), make([]byte, 1<<20))
	if err == nil && n != bytes {
		err = fmt.Errorf("%s ends after %d bytes", f.Name(), n)
	}
	return float64(n) / 1e6 / time.Since(start).Seconds(), err
}

// readRandomly reads pages in an order that no readahead guesses, none twice, and
// returns reads a second.
func readRandomly(f *os.File, pages []int64) (float64, error) {
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM); err != nil {
		return 0, err
	}
	buf := make([]byte, randomPage)
	order := rand.New(rand.NewPCG(seed, 2)).Perm(len(pages))
	start := time.Now()
	n := 0
	for n < len(order) && time.Since(start) < randomTime {
		if _, err := f.ReadAt(buf, pages[order[n]]); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n) / time.Since(start).Seconds(), nil
}

// onePerBlock takes one page of each block of 64 KiB: what a first one costs, which
// nothing that was read before makes cheaper.
func onePerBlock(pages []int64) (some []int64) {
	for _, p := range pages {
		if n := len(some); n == 0 || p/mapBlock != some[n-1]/mapBlock {
			some = append(some, p)
		}
	}
	return some
}

// dataPages are the offsets of pages of the region that are not zeros.
func (b *bench) dataPages() ([]int64, error) {
	var pages []int64
	err := withFile(b.image, func(f *os.File) error {
		buf := make([]byte, 1<<20)
		for off := int64(0); off < mountRegion; off += int64(len(buf)) {
			if _, err := f.ReadAt(buf, off); err != nil {
				return err
			}
			for i := 0; i < len(buf); i += randomPage {
				if !isZero(buf[i : i+randomPage]) {
					pages = append(pages, off+int64(i))
				}
			}
		}
		return nil
	})
	return pages, err
}

// copyOut copies the whole disk through the mount, beside a restore without it. The
// kernel keeps what passes through the mount, so the copy takes memory twice.
func (b *bench) copyOut(ctx context.Context, group string, v *vault) error {
	target := filepath.Join(b.store, "copied.raw")
	var through, direct cost
	for round := range b.rounds {
		b.say("copy through the mount, round %d of %d: direct, through", round+1, b.rounds)
		var err error
		if direct, err = b.timedOn(2*b.size, direct, func() (cost, error) { return v.restore(ctx, target) }); err != nil {
			return err
		}
		if err := removeAll(target); err != nil {
			return err
		}
		s, path, err := v.mount(ctx)
		if err != nil {
			return err
		}
		through, err = b.timedOn(2*b.size, through, func() (cost, error) {
			return measure(ctx, command{args: []string{"cp", "--sparse=always", path, target}})
		})
		if err == nil && round == 0 {
			err = sameFile(ctx, b.image, target)
		}
		if _, endErr := s.end(); err == nil {
			err = endErr
		}
		if err != nil {
			return err
		}
		if err := removeAll(target); err != nil {
			return err
		}
	}
	b.table.compare(group, "copy of the disk, wall", "s", through.Wall, direct.Wall, "direct restore", atMost(2.0))
	return nil
}
