package extract

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// holed adds a file of so many bytes that begins with data where odd is false, and changes between
// data and holes at the cuts.
func holed(f *treetest.FS, name string, size int64, odd bool, cuts ...int64) {
	b := make([]byte, size)
	var holes []tree.Extent
	from := int64(0)
	for i, to := range append(cuts, size) {
		if (i%2 == 0) == odd {
			holes = append(holes, tree.Extent{Off: from, Len: to - from})
		} else {
			for i := from; i < to; i++ {
				b[i] = byte(1 + i%251)
			}
		}
		from = to
	}
	f.File(name, string(b)).Holes = holes
}

// TestASparseTarHoldsWhatTheFilesHoldAndNoHoles is of files that begin and end with data or holes, are wholly
// a hole, or have too many for the map of them, between files without holes, as GNU tar and another reader see them.
func TestASparseTarHoldsWhatTheFilesHoldAndNoHoles(t *testing.T) {
	t.Parallel()
	f := treetest.New("ext4")
	rnd := rand.New(rand.NewPCG(1, 2))
	holed(f, "d/data-hole-data", 1<<20+5, false, 4096, 1<<20)
	holed(f, "d/hole", 3<<20, true)
	holed(f, "d/hole-data", 2<<20, true, 2<<20-1)
	holed(f, "d/data-hole", 2<<20, false, 511)
	holed(f, "d/small-hole", 8192, false, 4097, 8191)
	for i := range 8 {
		var cuts []int64
		for at := int64(0); ; {
			if at += 1 + rnd.Int64N(60_000); at >= 2<<20 {
				break
			}
			cuts = append(cuts, at)
		}
		holed(f, fmt.Sprintf("d/random %d \xff", i), 2<<20, i%2 == 0, cuts...)
	}
	var cuts []int64
	for at := int64(0); len(cuts) < 3*mostParts; at += 300 + rnd.Int64N(600) {
		cuts = append(cuts, at+1)
	}
	holed(f, "d/too-many", cuts[len(cuts)-1]+1<<20, false, cuts...)
	f.File("d/plain", "text")
	x := f.At("d/hole-data")
	x.Xattrs = map[string][]byte{"user.a": []byte("b")}
	x.Nlink = 2
	f.Link("d/hole-data-2", x)

	var b bytes.Buffer
	if r, err := Tar(t.Context(), &b, places(t, f, "/d"), Options{Sparse: true}); err != nil || r.Failed > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if most := 48 << 20; b.Len() > most {
		t.Errorf("%d bytes", b.Len())
	}
	seen := 0
	for a := tar.NewReader(bytes.NewReader(b.Bytes())); ; seen++ {
		h, err := a.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(a); err != nil || h.Typeflag == tar.TypeReg && string(got) != string(f.At(h.Name).Content) {
			t.Errorf("%s: %d bytes, not as they are in the guest, or %v", h.Name, len(got), err)
		}
	}
	if seen != 17 {
		t.Errorf("%d entries", seen)
	}
	to := t.TempDir()
	cmd := exec.Command("tar", "-xpf", "-", "--xattrs", "-C", to)
	cmd.Stdin = &b
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	names, err := filepath.Glob(to + "/d/*")
	if err != nil || len(names) != 16 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		base := filepath.Base(name)
		if got, err := os.ReadFile(name); err != nil || string(got) != string(f.At("d/"+base).Content) {
			t.Errorf("tar made of %s %d bytes, not as they are in the guest, or %v", base, len(got), err)
		}
	}
	var st syscall.Stat_t
	if err := syscall.Stat(to+"/d/hole", &st); err != nil || st.Blocks != 0 || st.Size != 3<<20 {
		t.Errorf("a hole: %+v, %v", st, err)
	}
	if err := syscall.Stat(to+"/d/hole-data-2", &st); err != nil || st.Nlink != 2 {
		t.Errorf("two names: %+v, %v", st, err)
	}
}

func TestASparseTarSaysZerosForWhatIsDamaged(t *testing.T) {
	t.Parallel()
	f := treetest.New("ext4")
	holed(f, "d/file", 1<<20, false, 4096, 1<<20-4096)
	f.At("d/file").Content = f.At("d/file").Content[:8192] // the last part cannot be read
	f.File("d/next", "behind it")
	var b bytes.Buffer
	r, err := Tar(t.Context(), &b, places(t, f, "/d"), Options{Sparse: true})
	if err != nil || r.Failed != 1 || r.Bytes != 8192+9 {
		t.Fatalf("%+v, %v", r, err)
	}
	for a := tar.NewReader(&b); ; {
		h, err := a.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(a)
		if err != nil || h.Name == "d/file" && (len(got) != 1<<20 || got[4095] == 0 || got[1<<20-1] != 0) || h.Name == "d/next" && string(got) != "behind it" {
			t.Errorf("%s: %d bytes, %v", h.Name, len(got), err)
		}
	}
}
