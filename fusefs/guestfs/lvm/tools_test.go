package lvm

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// lvmTool runs lvm without device-mapper, on the given devices only.
func lvmTool(t *testing.T, devices []string, args ...string) string {
	t.Helper()
	args = append(args, "--driverloaded", "n", "--devices", strings.Join(devices, ","))
	cmd := exec.Command("lvm", args...)
	cmd.Env = append(os.Environ(), "LVM_SUPPRESS_FD_WARNINGS=1", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("lvm %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func loop(t *testing.T, size int64) (device, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "pv")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "-f", "--show", file).CombinedOutput()
	if err != nil {
		t.Skipf("no loop device can be had: %v: %s", err, out)
	}
	device = strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "-d", device).CombinedOutput(); err != nil {
			t.Errorf("losetup -d %s: %v: %s", device, err, out)
		}
	})
	return device, file
}

// TestVolumesThatLVMMadeAreReadWhereLVMSaysThatTheyLie has lvm itself make a group over
// two disks and say where each segment is.
func TestVolumesThatLVMMadeAreReadWhereLVMSaysThatTheyLie(t *testing.T) {
	needs.Tools(t, "lvm", "losetup")
	needs.Root(t)
	t.Parallel()
	devices, files := make([]string, 2), make([]string, 2)
	for i := range devices {
		devices[i], files[i] = loop(t, 32*mib)
	}
	name := "hf" + strconv.Itoa(os.Getpid())
	run := func(args ...string) string { return lvmTool(t, devices, args...) }
	run("pvcreate", "-q", devices[0], devices[1])
	run("vgcreate", "-q", "-s", "1M", name, devices[0], devices[1])
	plain := []string{"-an", "-Zn", "-Wn", "-y"}
	run(append([]string{"lvcreate", "-L", "8M", "-n", "root", name, devices[0]}, plain...)...)
	run(append([]string{"lvcreate", "-i", "2", "-I", "64k", "-L", "8M", "-n", "striped", name}, plain...)...)
	run("lvextend", "-L", "+3M", name+"/root", devices[1])
	run("lvextend", "-L", "+3M", name+"/root", devices[0])
	run(append([]string{"lvcreate", "-l", "100%FREE", "-n", "my-data", name}, plain...)...)
	table := run("lvs", "--noheadings", "-o", "lv_name,seg_start_pe,seg_size_pe,stripe_size,seg_pe_ranges", "--units", "b", "--nosuffix", name)

	images := make([][]byte, 2)
	for i, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		r := rand.NewChaCha8([32]byte{byte(i)})
		r.Read(b[mib:]) // pe_start, by default
		images[i] = b
	}
	g := open(t, images...)
	if g.Name != name || len(g.Missing) != 0 || len(g.Notes) != 0 || len(g.Volumes) != 3 {
		t.Fatalf("%+v", g)
	}
	want := map[string][]byte{}
	ranges := regexp.MustCompile(`(/dev/loop\d+):(\d+)-(\d+)`)
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		var parts [][]byte
		for _, m := range ranges.FindAllStringSubmatch(line, -1) {
			from, _ := strconv.Atoi(m[2])
			to, _ := strconv.Atoi(m[3])
			parts = append(parts, images[map[string]int{devices[0]: 0, devices[1]: 1}[m[1]]][mib+from*mib:mib+(to+1)*mib])
		}
		stripe, _ := strconv.Atoi(f[3])
		want[f[0]] = append(want[f[0]], interleave(parts, stripe)...)
	}
	for _, v := range g.Volumes {
		if !bytes.Equal(content(t, v), want[v.Name]) {
			t.Errorf("volume %s is not what lvm says:\n%s", v.Name, table)
		}
	}
}

// interleave joins the parts of a segment stripe by stripe.
func interleave(parts [][]byte, stripe int) []byte {
	if len(parts) == 1 {
		return parts[0]
	}
	var out []byte
	for off := 0; off < len(parts[0]); off += stripe {
		for _, p := range parts {
			out = append(out, p[off:off+stripe]...)
		}
	}
	return out
}
