package restore

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/integration/needs"
	"github.com/holdfast-backup/holdfast/quiesce/image"
)

const placeSize = 3<<20 + 512

// placed is a place of some kind that holds bytes, and what reads it back.
type placed struct {
	spec PlaceSpec
	read func(t *testing.T) []byte
}

// places makes one place of each kind with this content.
func places(t *testing.T, content []byte) map[string]placed {
	t.Helper()
	all := map[string]placed{}
	file := func(name string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, content, 0o640); err != nil {
			t.Fatal(err)
		}
		return path
	}
	whole := func(path string) func(t *testing.T) []byte {
		return func(t *testing.T) []byte {
			t.Helper()
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
	raw := file("vm.raw")
	all["raw"] = placed{PlaceSpec{Path: raw}, whole(raw)}
	needs.Tools(t, "qemu-nbd")
	qcow2 := filepath.Join(t.TempDir(), "vm.qcow2")
	command(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", file("x"), qcow2)
	all["qcow2"] = placed{PlaceSpec{Path: qcow2, Format: "qcow2"}, func(t *testing.T) []byte {
		t.Helper()
		out := filepath.Join(t.TempDir(), "out")
		command(t, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", qcow2, out)
		command(t, "qemu-img", "check", "-q", "-f", "qcow2", qcow2)
		return whole(out)(t)
	}}
	if os.Geteuid() == 0 {
		backing := file("loop")
		if out, err := exec.Command("losetup", "-f", "--show", backing).CombinedOutput(); err == nil {
			dev := strings.TrimSpace(string(out))
			t.Cleanup(func() { command(t, "losetup", "-d", dev) })
			all["device"] = placed{PlaceSpec{Path: dev}, whole(dev)}
		}
	}
	served := file("served")
	socket := filepath.Join(t.TempDir(), "s")
	server := exec.Command("qemu-nbd", "-t", "-f", "raw", "-x", "disk", "-k", socket, served)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("qemu-nbd does not answer")
		}
	}
	all["nbd"] = placed{PlaceSpec{Path: "nbd+unix:///disk?socket=" + socket, NBD: true}, whole(served)}
	return all
}

// near is a disk of which most is what content is.
func near(content []byte, seed uint64) *fakeDisk {
	d, rng := newDisk("vda", int64(len(content)), 65536), rand.New(rand.NewPCG(seed, 2))
	for n := range ceil(d.size, d.block) {
		b := make([]byte, d.block)
		copy(b, content[n*d.block:])
		if !bytes.Equal(b, zeroes[:d.block]) {
			d.blocks[n] = b
		}
		switch rng.IntN(6) {
		case 0:
			d.put(n, rng)
		case 1:
			delete(d.blocks, n)
		}
	}
	return d
}

// inPlace opens a place and restores the disk there.
func inPlace(ctx context.Context, t *testing.T, spec PlaceSpec, d Disk, o Options) (DiskResult, *Mark, error) {
	t.Helper()
	p, err := OpenPlace(t.Context(), spec)
	for range 200 { // losetup of other tests looks into every loop device
		if !errors.As(err, new(*image.InUseError)) {
			break
		}
		time.Sleep(20 * time.Millisecond)
		p, err = OpenPlace(t.Context(), spec)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	found := p.Interrupted()
	res, err := InPlace(ctx, []PlaceJob{{Disk: d, Place: p, Mark: Mark{Machine: "web1", Point: "p1", Disk: "vda"}}}, o)
	return res.Disks[0], found, err
}

func TestAPlaceHoldsTheDiskAfterwards(t *testing.T) {
	t.Parallel()
	was := randomDisk("vda", placeSize, 65536, 3).bytes()
	for name, p := range places(t, was) {
		t.Run(name, func(t *testing.T) {
			d := near(was, 9)
			want := d.bytes()
			progress, check := steady(t)
			res, _, err := inPlace(t.Context(), t, p.spec, d, Options{Verify: true, Progress: progress})
			if err != nil {
				t.Fatal(err)
			}
			check()
			var differ int64
			for off := 0; off < len(want); off += 65536 {
				if end := min(off+65536, len(want)); !bytes.Equal(was[off:end], want[off:end]) {
					differ += int64(end - off)
				}
			}
			if !res.Done || !res.Verified || res.Data != differ {
				t.Errorf("%+v, %d bytes differed", res, differ)
			}
			if got := p.read(t); !bytes.Equal(got, want) {
				t.Error("the place holds something else")
			}
			if res, found, err := inPlace(t.Context(), t, p.spec, d, Options{}); err != nil || res.Data != 0 || found != nil {
				t.Errorf("once more: %+v, %v, %v", res, found, err)
			}
		})
	}
}

func TestAPlaceThatIsHalfRestoredIsFoundByNobodyButUs(t *testing.T) {
	t.Parallel()
	was := randomDisk("vda", placeSize, 65536, 3).bytes()
	was[0] ^= 0xff
	for name, p := range places(t, was) {
		t.Run(name, func(t *testing.T) {
			d := near(was, 11)
			rng := rand.New(rand.NewPCG(1, 1))
			d.put(20, rng)
			d.put(30, rng)
			want := d.bytes()
			broken := &breaking{fakeDisk: d, at: 30 * 65536}
			_, _, err := inPlace(t.Context(), t, p.spec, broken, Options{Workers: 1})
			var half *HalfRestoredError
			if !errors.As(err, &half) || len(half.Places) != 1 {
				t.Fatalf("ended with %v", err)
			}
			if name == "raw" || name == "qcow2" {
				if _, err := os.Lstat(p.spec.Path); !errors.Is(err, os.ErrNotExist) {
					t.Error("a machine would find the file")
				}
			} else if b := p.read(t); !bytes.Equal(b[510:512], []byte{0x55, 0xaa}) || !bytes.Contains(b[:512], []byte("holdfast restore web1@p1 --in-place")) ||
				!bytes.Equal(b[len(b)-markEdge:], zeroes[:markEdge]) {
				t.Errorf("a machine would start from it: %q", b[:512])
			}
			_, found, err := inPlace(t.Context(), t, p.spec, d, Options{Verify: true})
			if err != nil || found == nil || found.Point != "p1" {
				t.Fatalf("the second run found %v and ended with %v", found, err)
			}
			if got := p.read(t); !bytes.Equal(got, want) {
				t.Error("the place holds something else")
			}
			if name == "raw" || name == "qcow2" {
				wantNames(t, filepath.Dir(p.spec.Path), filepath.Base(p.spec.Path))
			}
		})
	}
}

// breaking is a disk that cannot be read at one place the second time it is asked.
type breaking struct {
	*fakeDisk
	at    int64
	asked int
}

func (b *breaking) ReadAt(p []byte, off int64) (int, error) {
	if off <= b.at && b.at < off+int64(len(p)) {
		if b.asked++; b.asked > 1 { // first it is compared
			return 0, errors.New("the vault is gone")
		}
	}
	return b.fakeDisk.ReadAt(p, off)
}

func TestARestoreInPlaceThatIsCancelledBeforeItWritesLeavesAllAsItWas(t *testing.T) {
	t.Parallel()
	was := randomDisk("vda", placeSize, 65536, 3).bytes()
	for name, p := range places(t, was) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			d := near(was, 5)
			d.onRead = func(int64) { cancel() }
			_, _, err := inPlace(ctx, t, p.spec, d, Options{})
			if !errors.Is(err, context.Canceled) || errors.As(err, new(*HalfRestoredError)) {
				t.Errorf("ended with %v", err)
			}
			if got := p.read(t); !bytes.Equal(got, was) {
				t.Error("something was written")
			}
		})
	}
}

func TestAFileOfAnotherSizeGrowsOrKeepsZerosAtItsEnd(t *testing.T) {
	t.Parallel()
	d := randomDisk("vda", placeSize, 65536, 3)
	want := d.bytes()
	small := filepath.Join(t.TempDir(), "small")
	large := filepath.Join(t.TempDir(), "large")
	os.WriteFile(small, want[:1<<20], 0o600)
	os.WriteFile(large, append(d.bytes(), bytes.Repeat([]byte{7}, 1<<20)...), 0o600)
	for _, path := range []string{small, large} {
		if _, _, err := inPlace(t.Context(), t, PlaceSpec{Path: path}, d, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	sameFile(t, small, want)
	sameFile(t, large, append(want, make([]byte, 1<<20)...))
	needs.Tools(t, "qemu-nbd")
	qcow2 := filepath.Join(t.TempDir(), "q")
	command(t, "qemu-img", "create", "-q", "-f", "qcow2", qcow2, "1M")
	if _, _, err := inPlace(t.Context(), t, PlaceSpec{Path: qcow2, Format: "qcow2"}, d, Options{}); err == nil || !strings.Contains(err.Error(), "qemu-img resize") {
		t.Errorf("a qcow2 that is too small: %v", err)
	}
}

func TestWhatIsHalfRestoredIsNotTakenForAnythingElse(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path, link := filepath.Join(folder, "vm"), filepath.Join(folder, "link")
	os.WriteFile(hiddenAway(path), make([]byte, 1<<20), 0o600)
	os.Symlink("vm", link)
	p, err := OpenPlace(t.Context(), PlaceSpec{Path: link})
	if err != nil {
		t.Fatal(err)
	}
	if p.Name() != path || p.continues(Mark{Point: "p1"}) {
		t.Errorf("found as %s", p.Name())
	}
	p.Close()
	os.WriteFile(path, []byte("new"), 0o600)
	if _, err := OpenPlace(t.Context(), PlaceSpec{Path: link}); err == nil || !strings.Contains(err.Error(), "half restored") {
		t.Errorf("a second file under the name: %v", err)
	}
	a := Mark{Vault: "v", Point: "p1", Disk: "vda", Before: "p2"}
	for _, c := range []struct {
		there Mark
		goes  bool
	}{
		{a, true}, {Mark{Vault: "v", Point: "p3", Disk: "vda", Before: "p2"}, false}, {Mark{Vault: "v", Point: "p1", Disk: "vdb", Before: "p2"}, false},
		{Mark{Vault: "v", Point: "p1", Disk: "vda"}, false}, {Mark{Vault: "v", Point: "p1", Disk: "vda", Before: "p2", Mixed: true}, false}, {Mark{Vault: "w", Point: "p1", Disk: "vda", Before: "p2"}, false},
	} {
		if got := (&Place{mark: &c.there, away: true}).continues(a); got != c.goes {
			t.Errorf("going on with %+v: %v", c.there, got)
		}
	}
}

func FuzzMark(f *testing.F) {
	m := Mark{Machine: "web1", Point: "p0123456789abcdef", Before: "p0", Disk: "vda", Began: time.Unix(1, 0).UTC()}
	b, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(markLine))
	f.Add([]byte(strings.Replace(string(b), "version 1", "version 2", 1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMark(b)
		if m == nil || err != nil {
			return
		}
		if len(m.Machine) > maxMark {
			t.Error("a mark out of bounds")
		}
	})
}

func TestAMarkIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	m := &Mark{Vault: "v", Machine: "web1", Point: blockstore.PointID("p1"), Disk: "vda", Before: "p2", Began: time.Unix(7, 0).UTC(), Mixed: true}
	block, err := markBlock(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := markOn(bytes.NewReader(block), int64(len(block)))
	if err != nil || *got != *m {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := markOn(bytes.NewReader(make([]byte, 100)), 100); got != nil || err != nil {
		t.Errorf("a small disk: %+v, %v", got, err)
	}
	if _, err := decodeMark([]byte(strings.Replace(markLine, "1", "2", 1))); err == nil {
		t.Error("a mark of another version is passed over")
	}
}
