// Make makes the images of fusefs/guestfs/udf's tests and what Linux reads of them:
//
//	go run ./testdata/make VMLINUZ MODULES OUT [IMAGE...]
//
// It formats images with mkudffs, boots the given kernel (Debian's; MODULES is its
// folder below /lib/modules) in QEMU with itself as init, which fills them through the
// kernel's udf driver, and writes to OUT each image (gzip) and what the kernel then
// shows of it (a line of JSON for each path). IMAGEs (NAME.img) are read only.
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// formatted are the images that mkudffs makes: name, size in KiB, options.
var formatted = []struct {
	name    string
	kib     int64
	options string
}{
	{"hd-201-512", 3000, "-m hd -r 2.01 -b 512"},
	{"hd-102-2048", 5000, "-m hd -r 1.02 -b 2048 --ad=short"},
	{"hd-150-1024-long", 4000, "-m hd -r 1.50 -b 1024 --ad=long"},
	{"hd-201-4096-noefe", 9000, "-m hd -r 2.01 -b 4096 --noefe"},
	{"dvdram-200-2048", 6000, "-m dvdram -r 2.00 -b 2048"},
	{"cdrw-201-2048-sparable", 12000, "-m cdrw -r 2.01 -b 2048"},
	{"hd-201-2048-mbr", 5000, "-m hd -r 2.01 -b 2048 --bootarea=mbr"},
	{"mo-102-2048-4096", 6000, "-m mo -r 1.02 -b 2048 --strategy=4096"},
}

// modules are loaded in this order.
var modules = []string{"drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_legacy_dev",
	"drivers/virtio/virtio_pci_modern_dev", "drivers/virtio/virtio_pci", "drivers/block/virtio_blk", "lib/crc-itu-t", "drivers/cdrom/cdrom", "fs/udf/udf"}

type job struct {
	Name, Image string
	Block       int64 // bytes
	Write       bool
}

func main() {
	if os.Getpid() == 1 {
		guest()
	}
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: make VMLINUZ MODULES OUT [IMAGE...]")
		os.Exit(2)
	}
	if err := host(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func host(kernel, moduleDir, out string, images []string) error {
	work, err := os.MkdirTemp("", "udf")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	var jobs []job
	if len(images) == 0 {
		for _, f := range formatted {
			image := filepath.Join(work, f.name+".img")
			args := append(strings.Fields(f.options), "--new-file", "-l", "Holdfast ü "+f.name[:6], image)
			block := "2048"
			for i, o := range strings.Fields(f.options) {
				if o == "-b" {
					block = strings.Fields(f.options)[i+1]
				}
			}
			var n int64
			fmt.Sscan(block, &n)
			args = append(args, fmt.Sprint(f.kib*1024/n))
			if text, err := exec.Command("mkudffs", args...).CombinedOutput(); err != nil {
				return fmt.Errorf("mkudffs %v: %w: %s", args, err, text)
			}
			jobs = append(jobs, job{f.name, image, n, true})
		}
	}
	for _, image := range images {
		block := int64(2048) // or what a name ends with
		name := strings.TrimSuffix(filepath.Base(image), ".img")
		fmt.Sscan(name[strings.LastIndex(name, "-")+1:], &block)
		jobs = append(jobs, job{name, image, block, false})
	}
	initrd := filepath.Join(work, "initrd")
	if err := writeInitrd(initrd, moduleDir, jobs); err != nil {
		return err
	}
	said, err := boot(kernel, initrd, jobs)
	if err != nil {
		return err
	}
	return keep(said, jobs, out)
}

// writeInitrd makes a cpio archive (newc) of this program, the modules and the jobs.
func writeInitrd(path, moduleDir string, jobs []job) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	init, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	add := func(name string, mode int, content []byte) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0)
		b.WriteString(name + "\x00")
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
		b.Write(content)
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
	}
	add("init", 0o100755, init)
	for i, m := range modules {
		ko, err := os.ReadFile(filepath.Join(moduleDir, "kernel", m+".ko"))
		if err != nil {
			return err
		}
		add(fmt.Sprintf("m%02d.ko", i), 0o100644, ko)
	}
	list, err := json.Marshal(jobs)
	if err != nil {
		return err
	}
	add("jobs", 0o100644, list)
	for _, dir := range []string{"proc", "dev", "mnt"} {
		add(dir, 0o040755, nil)
	}
	add("TRAILER!!!", 0, nil)
	return os.WriteFile(path, b.Bytes(), 0o600)
}

func boot(kernel, initrd string, jobs []job) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	args := []string{"-machine", "pc", "-accel", "tcg", "-cpu", "max", "-m", "512", "-nographic", "-no-reboot", "-nic", "none", "-kernel", kernel, "-initrd", initrd,
		"-append", "console=ttyS0 panic=-1 loglevel=7 mitigations=off"}
	for _, j := range jobs {
		args = append(args, "-drive", "if=virtio,format=raw,file="+j.Image)
	}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	cmd.Stderr = os.Stderr
	var said bytes.Buffer
	cmd.Stdout = io.MultiWriter(&said, os.Stderr)
	err := cmd.Run()
	return said.Bytes(), err
}

// keep writes what the guest said of each image, and the image.
func keep(said []byte, jobs []job, out string) error {
	facts := map[string][]string{}
	for s := bufio.NewScanner(bytes.NewReader(said)); s.Scan(); {
		line := strings.TrimRight(s.Text(), "\r")
		if name, fact, ok := strings.Cut(strings.TrimPrefix(line, "fact "), " "); ok && strings.HasPrefix(line, "fact ") {
			facts[name] = append(facts[name], fact)
		}
	}
	for _, j := range jobs {
		if !bytes.Contains(said, []byte("done "+j.Name+"\r\n")) && !bytes.Contains(said, []byte("done "+j.Name+"\n")) {
			return fmt.Errorf("%s was not read", j.Name)
		}
		packed, err := gzipped(strings.NewReader(strings.Join(facts[j.Name], "\n") + "\n"))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, j.Name+".json.gz"), packed, 0o644); err != nil {
			return err
		}
		if !j.Write {
			continue
		}
		if err := pack(j.Image, filepath.Join(out, j.Name+".img.gz")); err != nil {
			return err
		}
	}
	return nil
}

func pack(from, to string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	b, err := gzipped(r)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}

func gzipped(r io.Reader) ([]byte, error) {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if _, err := io.Copy(z, r); err != nil {
		return nil, err
	}
	err := z.Close()
	return b.Bytes(), err
}
