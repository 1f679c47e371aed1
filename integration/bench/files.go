package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Sizes of what is made to be read.
const (
	largeFile  = 1 << 30 // bytes
	largeDisk  = largeFile + 200<<20
	manyFiles  = 1_000_000
	manyFolder = 1000 // files in each folder
)

// guestFiles reads the files of a point, in the mount and without: a walk beside the
// kernel's own driver, a large file beside the disk that it lies on, a small file from a
// process that has read nothing yet, files through a year of points, and a tree of a million files.
func (b *bench) guestFiles(ctx context.Context) error {
	const group = "files"
	v, err := b.newVault(ctx, "files")
	if err != nil {
		return err
	}
	defer v.remove()
	b.say("files: the backup")
	if _, err := v.backup(ctx); err != nil {
		return err
	}
	if err := b.walkBoth(ctx, group, v); err != nil {
		return fmt.Errorf("walk: %w", err)
	}
	if err := b.oneFile(ctx, group, v); err != nil {
		return fmt.Errorf("one file: %w", err)
	}
	if err := b.largeFile(ctx, group, v); err != nil {
		return fmt.Errorf("a large file: %w", err)
	}
	if err := b.fileHistory(ctx, group); err != nil {
		return fmt.Errorf("files through time: %w", err)
	}
	if err := b.manyFiles(ctx, group, v); err != nil {
		return fmt.Errorf("many files: %w", err)
	}
	return nil
}

// walkBoth lists the disk's whole tree in a fresh mount of ours and in one of the kernel, whose
// memory of names and inodes is dropped first.
func (b *bench) walkBoth(ctx context.Context, group string, v *vault) error {
	var ours, kernel cost
	for range b.rounds {
		c, err := b.walkOurs(ctx, v)
		if err != nil {
			return err
		}
		ours = best(ours, c)
		if os.Geteuid() != 0 {
			continue // the kernel mounts nothing then
		}
		if c, err = b.walkKernel(ctx); err != nil {
			return err
		}
		kernel = best(kernel, c)
	}
	b.table.compare(group, "find -ls of the disk's tree, fresh mount", "s", ours.Wall, kernel.Wall, "the kernel's ext4, cold dentries", atMost(3))
	return nil
}

func (b *bench) walkOurs(ctx context.Context, v *vault) (cost, error) {
	s, raw, err := v.mount(ctx)
	if err != nil {
		return cost{}, err
	}
	c, err := measure(ctx, command{args: []string{"find", filesOf(raw), "-ls"}})
	_, endErr := s.end()
	return c, errors.Join(err, endErr)
}

// filesOf is the folder of the files on vda, of the point whose vda that is.
func filesOf(raw string) string {
	return filepath.Join(filepath.Dir(filepath.Dir(raw)), "files", "vda")
}

func (b *bench) walkKernel(ctx context.Context) (c cost, err error) {
	at := filepath.Join(b.store, "kernel.mount")
	if err := os.MkdirAll(at, 0o700); err != nil {
		return c, err
	}
	defer os.Remove(at)
	if out, err := exec.CommandContext(ctx, "mount", "-o", "ro,noload,loop", b.image, at).CombinedOutput(); err != nil {
		return c, fmt.Errorf("mount the image: %w: %s", err, out)
	}
	defer func() {
		out, unmounted := exec.Command("umount", at).CombinedOutput()
		if unmounted != nil {
			err = errors.Join(err, fmt.Errorf("umount: %w: %s", unmounted, out))
		}
	}()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0); err != nil {
		return c, err
	}
	return measure(ctx, command{args: []string{"find", at, "-ls"}})
}

// oneFile prints a small file from a cold process. What that reads, of packs and of all else,
// is counted by the kernel for the shell that waits for it.
func (b *bench) oneFile(ctx context.Context, group string, v *vault) error {
	_, out, err := measureOutput(ctx, v.command("find", machine+"@latest:vda:/", "--type", "f", "--size", "-8KiB"))
	if err != nil {
		return err
	}
	paths := strings.Fields(string(out))
	if len(paths) == 0 {
		return errors.New("the disk holds no small file")
	}
	ref := machine + "@latest:vda:" + paths[len(paths)/2]
	var c cost
	for range b.rounds + 3 {
		again, err := v.run(ctx, "cat", ref)
		if err != nil {
			return err
		}
		c = best(c, again)
	}
	cat := v.command("cat", ref)
	shell := command{env: cat.env, args: append([]string{"sh", "-c", `"$@" >/dev/null; sed -n 's/^rchar: //p' /proc/$$/io`, "sh"}, cat.args...)}
	_, out, err = measureOutput(ctx, shell)
	if err != nil {
		return err
	}
	read, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		return err
	}
	b.table.alone(group, "cat of a small file, cold process", "s", c.Wall, atMost(0.3))
	b.table.alone(group, "bytes that it reads", "MiB", inMiB(read), atMost(8))
	b.table.memory(group, "cat of a small file", c.Anon)
	return nil
}

// largeFile reads one file through in the mount, and as much of the disk that it fills.
func (b *bench) largeFile(ctx context.Context, group string, v *vault) error {
	b.say("files: a disk with a file of 1 GiB")
	stage, disk := filepath.Join(b.store, "large"), filepath.Join(b.store, "large.raw")
	defer removeAll(stage, disk)
	if err := os.MkdirAll(stage, 0o700); err != nil {
		return err
	}
	if err := writeHalfRandom(filepath.Join(stage, "file"), largeFile); err != nil {
		return err
	}
	if err := b.format(ctx, stage, disk, largeDisk); err != nil {
		return err
	}
	if _, err := v.run(ctx, "backup", machine, "--quiet", "--disk", "vda="+disk+",format=raw"); err != nil {
		return err
	}
	if err := removeAll(stage, disk); err != nil {
		return err
	}
	rates := map[string]float64{}
	for range b.rounds {
		for _, what := range []string{"file", "disk"} {
			s, raw, err := v.mount(ctx)
			if err != nil {
				return err
			}
			path := map[string]string{"file": filepath.Join(filesOf(raw), "file"), "disk": raw}[what]
			if err = b.touch(largeFile + largeFile/8); err == nil {
				err = withFile(path, func(f *os.File) error {
					rate, err := readThrough(f, largeFile)
					rates[what] = max(rates[what], rate)
					return err
				})
			}
			_, endErr := s.end()
			if err = errors.Join(err, endErr); err != nil {
				return err
			}
		}
	}
	b.table.compare(group, "sequential read of a file of 1 GiB", "MB/s", rates["file"], rates["disk"], "disks/vda.raw of the same mount", atLeast(0.6))
	return nil
}

// writeHalfRandom writes what compresses to about half, as files do.
func writeHalfRandom(path string, size int64) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r := rand.NewChaCha8([32]byte{1})
	part := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(part)) {
		r.Read(part[:len(part)/2])
		for off := len(part) / 2; off < len(part); off += 4096 {
			copy(part[off:], part[:4096])
		}
		if _, err := f.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// format makes a disk with the content of a folder.
func (b *bench) format(ctx context.Context, stage, disk string, size int64, more ...string) error {
	args := append([]string{"-q", "-F", "-d", stage}, more...)
	out, err := exec.CommandContext(ctx, "mkfs.ext4", append(args, disk, fmt.Sprint(size>>10)+"k")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	return nil
}

// manyFiles walks a file system of a million files, without a mount and in one.
func (b *bench) manyFiles(ctx context.Context, group string, v *vault) error {
	b.say("files: a disk with %d files", manyFiles)
	stage, disk := filepath.Join(b.store, "many"), filepath.Join(b.store, "many.raw")
	defer removeAll(stage, disk)
	for n := range manyFiles / manyFolder {
		folder := filepath.Join(stage, fmt.Sprintf("folder-%04d", n))
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
		for i := range manyFolder {
			if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("file-%06d", i)), nil, 0o600); err != nil {
				return err
			}
		}
	}
	if err := b.format(ctx, stage, disk, 2<<30, "-N", fmt.Sprint(manyFiles*11/10)); err != nil {
		return err
	}
	if err := removeAll(stage); err != nil {
		return err
	}
	if _, err := v.run(ctx, "backup", machine, "--quiet", "--disk", "vda="+disk+",format=raw"); err != nil {
		return err
	}
	c, err := v.run(ctx, "find", machine+"@latest:vda:/", "--name", "nothing*")
	if err != nil {
		return err
	}
	b.table.alone(group, "holdfast find over a million files", "s", c.Wall, noTarget)
	b.table.memory(group, "holdfast find over a million files", c.Anon)
	if err := b.catalogue(ctx, group, v, disk); err != nil {
		return err
	}
	s, raw, err := v.mount(ctx)
	if err != nil {
		return err
	}
	c, err = measure(ctx, command{args: []string{"find", filesOf(raw), "-size", "+100M"}})
	anon, endErr := s.end()
	if err = errors.Join(err, endErr); err != nil {
		return err
	}
	b.table.alone(group, "find -size over them in the mount", "s", c.Wall, noTarget)
	b.table.memory(group, "find -size over them in the mount", anon)
	return nil
}
