package mdraid

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/raid"
)

// fixture returns the members of an array that ../testdata/make-volumes had the
// kernel's md make, and what the kernel read from it.
func fixture(t testing.TB, name string) (members [][]byte, sum string) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".tgz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		_, err := r.Next()
		if err == io.EOF {
			break
		}
		b, err2 := io.ReadAll(r)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		members = append(members, b)
	}
	sums, err := os.ReadFile("testdata/sums")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(sums)) {
		if f := strings.Fields(line); f[1] == name {
			return members, f[0] + " " + f[2]
		}
	}
	t.Fatalf("no sum of %s", name)
	return nil, ""
}

// devices are the members but those that are nil.
func devices(t testing.TB, members [][]byte) []Device {
	t.Helper()
	var list []Device
	for i, b := range members {
		if b == nil {
			continue
		}
		s, err := ReadSuper(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatalf("member %d: %v", i, err)
		}
		list = append(list, Device{fmt.Sprintf("vd%c", 'a'+i), bytes.NewReader(b), int64(len(b)), s})
	}
	return list
}

func one(t testing.TB, members [][]byte) *Array {
	t.Helper()
	arrays := Assemble(devices(t, members))
	if len(arrays) != 1 {
		t.Fatalf("%d arrays", len(arrays))
	}
	return arrays[0]
}

// digest reads an array in odd pieces.
func digest(t testing.TB, a *Array) string {
	t.Helper()
	h := sha256.New()
	b := make([]byte, 50021)
	for off := int64(0); ; {
		n, err := a.ReadAt(b, off)
		h.Write(b[:n])
		if off += int64(n); err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return fmt.Sprintf("%x %d", h.Sum(nil), a.Size/512)
}

// spare is how many members an array can do without, whichever they are.
func spare(name string) int {
	switch {
	case strings.HasPrefix(name, "raid6"), strings.HasSuffix(name, "3"), name == "raid1-end":
		return 2
	case strings.Contains(name, "stale"), strings.HasPrefix(name, "raid0"), strings.HasPrefix(name, "linear"):
		return 0
	}
	return 1
}

func names(t testing.TB) []string {
	t.Helper()
	files, _ := filepath.Glob("testdata/*.tgz")
	if len(files) < 30 {
		t.Fatalf("%d fixtures", len(files))
	}
	var list []string
	for _, f := range files {
		list = append(list, strings.TrimSuffix(filepath.Base(f), ".tgz"))
	}
	return list
}

// TestArraysAreReadAsTheKernelReadsThemWhicheverMembersAreMissing goes through all
// levels and layouts that md has, whole and with each member or two left out.
func TestArraysAreReadAsTheKernelReadsThemWhicheverMembersAreMissing(t *testing.T) {
	t.Parallel()
	for _, name := range names(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			members, want := fixture(t, name)
			check := func(missing ...int) {
				left := slices.Clone(members)
				for _, i := range missing {
					left[i] = nil
				}
				a := one(t, left)
				if a.Err != nil || digest(t, a) != want {
					t.Errorf("without %v: it differs from what the kernel read: %+v", missing, a)
				}
			}
			check()
			for i := range members {
				if spare(name) == 0 {
					break
				}
				check(i)
				for k := i + 1; k < len(members) && spare(name) == 2; k++ {
					check(i, k)
				}
			}
			// One more than it can do without.
			left := slices.Clone(members)
			for i := range spare(name) + 1 {
				left[(2*i)%len(left)], left[(2*i+1)%len(left)] = nil, nil
			}
			if strings.HasPrefix(name, "raid1") && !strings.HasPrefix(name, "raid10") || len(slices.DeleteFunc(slices.Clone(left), func(b []byte) bool { return b == nil })) == 0 {
				return
			}
			if a := one(t, left); !errors.Is(a.Err, raid.ErrTooFew) {
				t.Errorf("too few members: %+v", a)
			}
		})
	}
}

func TestAMemberThatFellBehindIsLeftOut(t *testing.T) {
	t.Parallel()
	for name, stale := range map[string]string{"raid5-stale": "vdc", "raid1-stale": "vda"} {
		members, want := fixture(t, name)
		a := one(t, members)
		if a.Err != nil || digest(t, a) != want || a.Missing != 1 || slices.Contains(a.Devices, stale) || !strings.Contains(strings.Join(a.Notes, "\n"), stale) {
			t.Errorf("%s: %+v", name, a)
		}
	}
	// Alone it is what there is.
	members, _ := fixture(t, "raid1-stale")
	if a := one(t, members[:1]); a.Err != nil {
		t.Errorf("%+v", a)
	}
}
