package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// patchBlock is the granularity in which two days of the disk are compared.
const patchBlock = 64 << 10

// patch turns the image from its first day to its second and back, so that
// both days need the memory of one.
type patch struct {
	image   string
	offsets []int64
}

// makePatch compares the image with its second day and keeps, beside the image,
// the blocks of both that differ. It returns how many bytes they are.
func makePatch(image, second string) (int64, error) {
	a, err := os.Open(image)
	if err != nil {
		return 0, err
	}
	defer a.Close()
	b, err := os.Open(second)
	if err != nil {
		return 0, err
	}
	defer b.Close()
	var offsets []int64
	var one, two bytes.Buffer
	p, q := make([]byte, patchBlock), make([]byte, patchBlock)
	for off := int64(0); off < imageSize; off += patchBlock {
		if _, err := a.ReadAt(p, off); err != nil {
			return 0, err
		}
		if _, err := b.ReadAt(q, off); err != nil {
			return 0, err
		}
		if !bytes.Equal(p, q) {
			offsets = append(offsets, off)
			one.Write(p)
			two.Write(q)
		}
	}
	list, err := json.Marshal(offsets)
	return int64(one.Len()), errors.Join(err, os.WriteFile(image+".offsets", list, 0o600),
		os.WriteFile(image+".day1", one.Bytes(), 0o600), os.WriteFile(image+".day2", two.Bytes(), 0o600))
}

func openPatch(image string) (*patch, error) {
	list, err := os.ReadFile(image + ".offsets")
	if err != nil {
		return nil, err
	}
	p := &patch{image: image}
	return p, json.Unmarshal(list, &p.offsets)
}

// showDay makes the image that of day 1 or 2.
func (b *bench) showDay(day int) error {
	if b.day == day || b.patch == nil {
		return nil
	}
	if err := b.patch.apply(day); err != nil {
		return fmt.Errorf("turn the disk to day %d: %w", day, err)
	}
	b.day = day
	return nil
}

func (p *patch) apply(day int) error {
	blocks, err := os.ReadFile(fmt.Sprintf("%s.day%d", p.image, day))
	if err != nil {
		return err
	}
	f, err := os.OpenFile(p.image, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for i, off := range p.offsets {
		if _, err := f.WriteAt(blocks[i*patchBlock:(i+1)*patchBlock], off); err != nil {
			return err
		}
	}
	return nil
}

func copySparse(ctx context.Context, from, to string) error {
	out, err := exec.CommandContext(ctx, "cp", "--sparse=always", from, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("cp %s: %w: %s", filepath.Base(from), err, out)
	}
	return nil
}

func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}
