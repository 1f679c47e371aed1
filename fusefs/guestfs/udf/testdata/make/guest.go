package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// guest is what init does. It does not return.
func guest() {
	defer unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	must(unix.Mount("proc", "/proc", "proc", 0, ""))
	must(unix.Mount("dev", "/dev", "devtmpfs", 0, ""))
	console, err := os.OpenFile("/dev/console", os.O_RDWR, 0)
	must(err)
	os.Stdout = console
	for i := range modules {
		f, err := os.Open(fmt.Sprintf("/m%02d.ko", i))
		must(err)
		must(unix.FinitModule(int(f.Fd()), "", 0))
		f.Close()
	}
	fmt.Println("guest runs")
	b, err := os.ReadFile("/jobs")
	must(err)
	var jobs []job
	must(json.Unmarshal(b, &jobs))
	time.Sleep(time.Second) // until the disks are there
	for i, j := range jobs {
		if err := one(fmt.Sprintf("/dev/vd%c", 'a'+i), j); err != nil {
			fmt.Println("error", j.Name, err)
			continue
		}
		fmt.Println("done", j.Name)
	}
}

func must(err error) {
	if err != nil {
		fmt.Println("error", err)
		time.Sleep(time.Second)
		unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	}
}

func one(device string, j job) error {
	if j.Write {
		if err := unix.Mount(device, "/mnt", "udf", 0, fmt.Sprintf("bs=%d", j.Block)); err != nil {
			return fmt.Errorf("mount %s: %w", device, err)
		}
		err := fill("/mnt")
		if err2 := unix.Unmount("/mnt", 0); err == nil {
			err = err2
		}
		if err != nil {
			return err
		}
	}
	if err := unix.Mount(device, "/mnt", "udf", unix.MS_RDONLY, fmt.Sprintf("unhide,bs=%d", j.Block)); err != nil {
		return fmt.Errorf("mount %s: %w", device, err)
	}
	defer unix.Unmount("/mnt", 0)
	return filepath.WalkDir("/mnt", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return tell(j.Name, path)
	})
}

// tell prints what the kernel shows of one path.
func tell(name, path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fmt.Errorf("stat %s: %w", path, err)
	}
	f := map[string]any{"Path": "/" + strings.TrimPrefix(strings.TrimPrefix(path, "/mnt"), "/"), "Mode": st.Mode, "Nlink": st.Nlink,
		"UID": st.Uid, "GID": st.Gid, "Mtime": st.Mtim.Nano()}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f["Size"], f["Content"] = st.Size, fmt.Sprintf("%x", sha256.Sum256(b))
	case unix.S_IFLNK:
		link, err := os.Readlink(path)
		if err != nil {
			return err
		}
		f["Link"], f["Size"] = link, len(link)
	case unix.S_IFCHR, unix.S_IFBLK:
		f["Major"], f["Minor"] = unix.Major(st.Rdev), unix.Minor(st.Rdev)
	}
	b, err := json.Marshal(f)
	fmt.Println("fact", name, string(b))
	return err
}

// numbers is content that compresses well, and is another in every 512 bytes.
func numbers(n, seed int) []byte {
	var b []byte
	for i := 0; len(b) < n; i++ {
		b = append(b, strings.Repeat(fmt.Sprintf("%07d %07d\n", seed, i), 32)...)
	}
	return b[:n]
}

// fill writes what is to be read again.
func fill(root string) error {
	at := func(name string) string { return filepath.Join(root, name) }
	for name, n := range map[string]int{"empty": 0, "short.txt": 5, "block": 2048, "large.bin": 300_001, "sub/one/two/file": 7, "sub/gone": 900,
		"names/" + strings.Repeat("y", 240): 1, "names/ümläut": 2, "names/日本語 Ελ.txt": 3, "names/UPPER.and.dots...": 4, "names/wide " + strings.Repeat("語", 80): 5, "names/😀 pair": 6} {
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(at(name), numbers(n, len(name)), 0o644); err != nil {
			return err
		}
	}
	for i := range 400 {
		name := at(fmt.Sprintf("many/a file with a long name %03d.txt", i))
		os.MkdirAll(filepath.Dir(name), 0o750)
		if err := os.WriteFile(name, numbers(i%50, i), 0o600); err != nil {
			return err
		}
	}
	for i := 0; i < 400; i += 3 {
		if err := os.Remove(at(fmt.Sprintf("many/a file with a long name %03d.txt", i))); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{"abs": "/etc/passwd", "up": "../../x/./y", "here": ".", "root": "/", "plain": "short.txt",
		"long": strings.Repeat("component/", 12) + "end", "wide": "日本/語"} {
		if err := os.Symlink(target, at("link-"+name)); err != nil {
			return err
		}
	}
	if err := scatter(at("scattered"), at("between")); err != nil {
		return err
	}
	if err := sparse(at("sparse")); err != nil {
		return err
	}
	return rest(at)
}

// scatter makes one file of many extents: another is written between each two of its parts.
func scatter(name, other string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	o, err := os.Create(other)
	if err != nil {
		return err
	}
	defer o.Close()
	for i := range 120 {
		if _, err := f.Write(numbers(4096, i)); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		if _, err := o.Write(numbers(4096, 1000+i)); err != nil {
			return err
		}
		if err := o.Sync(); err != nil {
			return err
		}
	}
	return nil
}

func sparse(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, at := range []int64{70_000, 900_000, 901_000, 5 << 20} {
		if _, err := f.WriteAt(numbers(3000, int(at)), at); err != nil {
			return err
		}
	}
	return f.Truncate(20<<20 + 5)
}

// rest is what is done to names that are there.
func rest(at func(string) string) error {
	for _, err := range []error{
		os.Link(at("large.bin"), at("sub/hard")),
		os.Remove(at("sub/gone")),
		os.Rename(at("sub/one"), at("sub/moved")),
		os.WriteFile(at("sub/later"), numbers(33, 3), 0o604),
		unix.Mknod(at("fifo"), unix.S_IFIFO|0o600, 0),
		unix.Mknod(at("device"), unix.S_IFBLK|0o660, int(unix.Mkdev(8, 17))),
		unix.Mknod(at("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		unix.Mknod(at("socket"), unix.S_IFSOCK|0o755, 0),
		os.Chown(at("block"), 1000, 100_000),
		unix.Chmod(at("short.txt"), 0o4751),
		unix.Chmod(at("block"), 0o2070),
		unix.Chmod(at("sub"), 0o1770),
	} {
		if err != nil {
			return err
		}
	}
	when := time.Date(1999, 2, 3, 4, 5, 6, 789_012_000, time.UTC)
	return filepath.WalkDir(at(""), func(path string, e os.DirEntry, err error) error {
		if err != nil || e.Type()&os.ModeSymlink != 0 {
			return err
		}
		when = when.Add(time.Hour + time.Microsecond)
		return os.Chtimes(path, when, when)
	})
}
