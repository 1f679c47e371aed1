package xfs

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// A fixture is gzip over: length of the report, the report, size of the image,
// then of each 4 KiB that are not zeros their number and content.
const fixturePage = 4096

// TestPackFixture is no test: testdata/make-fixtures packs with it.
func TestPackFixture(t *testing.T) {
	name := os.Getenv("XFS_FIXTURE")
	if name == "" {
		t.Skip("packs fixtures")
	}
	report, err := os.ReadFile(os.Getenv("XFS_FIXTURE_REPORT"))
	if err != nil {
		t.Fatal(err)
	}
	report = bytes.TrimRight(report, "\x00")
	image, err := os.ReadFile(os.Getenv("XFS_FIXTURE_IMAGE"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	head := binary.AppendUvarint(nil, uint64(len(report)))
	head = binary.AppendUvarint(append(head, report...), uint64(len(image)))
	z.Write(head)
	for i := 0; i < len(image)/fixturePage; i++ {
		if page := image[i*fixturePage:][:fixturePage]; !bytes.Equal(page, make([]byte, fixturePage)) {
			z.Write(append(binary.AppendUvarint(nil, uint64(i)), page...))
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name+".gz", b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fixture unpacks an image and what the kernel read of it.
func fixture(t testing.TB, name string) (image, report []byte) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	packed, err := os.ReadFile(filepath.Join("testdata", name+".gz"))
	must(err)
	z, err := gzip.NewReader(bytes.NewReader(packed))
	must(err)
	all, err := io.ReadAll(z)
	must(err)
	r := bytes.NewReader(all)
	n, err := binary.ReadUvarint(r)
	must(err)
	report = make([]byte, n)
	_, err = io.ReadFull(r, report)
	must(err)
	n, err = binary.ReadUvarint(r)
	must(err)
	image = make([]byte, n)
	for r.Len() > 0 {
		at, err := binary.ReadUvarint(r)
		must(err)
		_, err = io.ReadFull(r, image[at*fixturePage:][:fixturePage])
		must(err)
	}
	return image, report
}

func TestImagesThatOtherKernelsWroteAreReadAsTheyReadThem(t *testing.T) {
	t.Parallel()
	for name, journal := range map[string]tree.Journal{
		"v4": tree.Clean, "v4-plain": tree.Clean, "v4-dirty": tree.Replayed, "v4-dirty-plain": tree.Replayed, "v5-dirty": tree.Replayed, "v5-ci": tree.Clean,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			image, report := fixture(t, name)
			v, err := Format.Open(bytes.NewReader(image), int64(len(image)), tree.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if i := v.Info(); i.Journal != journal || len(i.Notes) > 0 || i.FoldsCase != strings.HasSuffix(name, "-ci") {
				t.Errorf("the volume says %+v", i)
			}
			sameDigest(t, exact.Ours(t, v), report)
		})
	}
}

func TestNamesAreFoundWhateverTheirCaseWhereTheFileSystemFoldsIt(t *testing.T) {
	t.Parallel()
	image, _ := fixture(t, "v5-ci")
	v, err := Format.Open(bytes.NewReader(image), int64(len(image)), tree.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for dir, names := range map[string][]string{"folder-12": {"NAME-1", "-0"}, "folder-400": {"NaMeNAME-2"}, "folder-700": {"namename-11", "NAMENAME-11"}} {
		ino, err := v.Lookup(v.Root(), strings.ToUpper(dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			got, err := v.Lookup(ino, name)
			want, err2 := v.Lookup(ino, strings.ToLower(name))
			if err != nil || err2 != nil || got != want {
				t.Errorf("%s/%s: %d, %d, %v, %v", dir, name, got, want, err, err2)
			}
		}
	}
}
