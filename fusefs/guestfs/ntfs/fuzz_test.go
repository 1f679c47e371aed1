package ntfs

import (
	"bytes"
	"compress/gzip"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/small.img.gz anew")

const small = "testdata/small.img.gz"

// smallImage is a volume of 2 MiB with something of everything, which mutants are made of.
func smallImage(t testing.TB) []byte {
	t.Helper()
	f, err := os.Open(small)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTheSmallImageIsWhole also makes it, with -update.
func TestTheSmallImageIsWhole(t *testing.T) {
	if *update {
		writeSmall(t)
	}
	b := smallImage(t)
	files, failed := examine(t, b)
	if files < 100 || failed > 0 {
		t.Errorf("%d files, %d failed", files, failed)
	}
}

func writeSmall(t *testing.T) {
	t.Helper()
	image := makeNTFS(t, 2, "-c", "1024")
	mounted(t, image, "compression", func(dir string) {
		m := newMaker(t, dir)
		m.must(os.Mkdir(m.path("packed"), 0o755))
		m.xattr("packed", "system.ntfs_attrib_be", []byte{0, 0, 8, 0x10})
		m.write("packed/text", m.text(50_000))
		m.write("plain", m.text(9000))
		pieces := map[int64][]byte{}
		for i := range int64(250) {
			pieces[i*2048] = []byte("piece")
		}
		m.sparse("pieces", 600_000, pieces)
		for i := range 90 {
			m.write("folder/"+string(rune('a'+i%26))+" file with a longer name "+string(rune('A'+i%23)), []byte("x"))
		}
		for i := range 12 {
			m.must(os.Link(m.path("plain"), m.path("folder/link "+string(rune('a'+i))+" with a name that needs room in its record")))
		}
		m.must(os.Symlink("plain", m.path("link")))
		m.write("windows", nil)
		m.xattr("windows", "system.ntfs_reparse_data", windowsLink(tagSymlink, `\??\C:\x`))
		m.write("streams", []byte("main"))
		m.xattr("streams", "user.one", m.text(3000))
	})
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
	_, _ = z.Write(b)
	_ = z.Close()
	if err := os.WriteFile(small, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// region is a structure of an image that mutations go into.
type region struct {
	at, size int64
	guarded  bool // by an update sequence
}

// regions finds them: the boot sector, every record and index block in use.
func regions(t testing.TB, b []byte) []region {
	v := loadBytes(t, b).v
	all := []region{{0, 100, false}}
	for at := int64(0); at < int64(len(b)); at += v.cluster {
		switch string(b[at : at+4]) {
		case "FILE":
			all = append(all, region{at, v.boot.record, true})
		case "INDX":
			all = append(all, region{at, 4096, true})
		}
	}
	return all
}

// mutate changes bytes or words as edits tell, six bytes for each: which
// structure, where in it, what, and how. Update sequences are made right again.
func mutate(b []byte, where []region, edits []byte) []byte {
	b = bytes.Clone(b)
	changed := map[region]bool{}
	for ; len(edits) >= 6; edits = edits[6:] {
		r := where[int(le.Uint16(edits))%len(where)]
		p := b[r.at : r.at+r.size]
		if r.guarded && !changed[r] {
			changed[r] = true
			fixup(p, string(p[:4]))
		}
		at := int(le.Uint16(edits[2:])) % len(p)
		if len(p) > 512 && edits[5]&0x80 != 0 {
			at %= 512 // most of what counts is at the beginning
		}
		switch value := edits[4]; {
		case edits[5]&3 == 0 && at+8 <= len(p):
			le.PutUint64(p[at&^7:], uint64(int64(int8(value)))<<(edits[5]&0x38))
		case edits[5]&3 == 1 && at+2 <= len(p):
			le.PutUint16(p[at&^1:], le.Uint16(p[at&^1:])+uint16(int8(value)))
		default:
			p[at] = value
		}
	}
	for r := range changed {
		renew(b[r.at : r.at+r.size])
	}
	return b
}

// TestNoMutantOfAVolumePanicsOrGoesOnWithoutEnd examines some hundred of them; their chance is fixed.
func TestNoMutantOfAVolumePanicsOrGoesOnWithoutEnd(t *testing.T) {
	t.Parallel()
	b := smallImage(t)
	where := regions(t, b)
	chance := rand.NewChaCha8([32]byte{7})
	failed := 0
	for range 300 {
		edits := make([]byte, 6*(1+chance.Uint64()%30))
		chance.Read(edits)
		m := mutate(b, where, edits)
		if _, bad := examine(t, m); bad > 0 {
			failed++
		}
	}
	if failed < 20 {
		t.Errorf("only %d of the mutants were damaged: the test proves nothing", failed)
	}
}

// FuzzVolume examines mutants of a volume.
func FuzzVolume(f *testing.F) {
	b := smallImage(f)
	where := regions(f, b)
	f.Add([]byte{0, 0, 13, 0, 8, 2})
	f.Add([]byte{1, 0, 20, 0, 1, 1, 5, 0, 60, 0, 255, 0, 30, 0, 90, 0, 3, 0x81})
	f.Fuzz(func(t *testing.T, edits []byte) {
		if len(edits) > 600 {
			return
		}
		m := mutate(b, where, edits)
		examine(t, m)
	})
}

// FuzzLZNT1 decompresses garbage into buffers of all sizes, and never beyond them.
func FuzzLZNT1(f *testing.F) {
	f.Add([]byte{2, 0xB0, 0, 'a', 'b'}, uint16(4096))
	f.Add([]byte{5, 0xB0, 2, 'a', 0xFC, 0x0F, 'b', 0, 0}, uint16(9000))
	f.Fuzz(func(t *testing.T, src []byte, size uint16) {
		out := bytes.Repeat([]byte{0xAA}, int(size)+16)
		_ = lznt1(out[:size:size], src)
		if string(out[size:]) != string(bytes.Repeat([]byte{0xAA}, 16)) {
			t.Fatal("it wrote beyond the end")
		}
	})
}

// FuzzRuns decodes garbage as mapping pairs: what is accepted lies within the volume and has no gap.
func FuzzRuns(f *testing.F) {
	f.Add([]byte{0x21, 4, 0x10, 0x20, 0x01, 8, 0x11, 2, 0xF0, 0}, int64(0), int64(13), int64(1<<20))
	f.Fuzz(func(t *testing.T, pairs []byte, first, last, clusters int64) {
		if first < 0 || last > maxVCN || last < first-1 || clusters < 1 {
			return
		}
		runs, err := decodeRuns(pairs, first, last, clusters)
		if err != nil {
			return
		}
		vcn := first
		for _, r := range runs {
			if r.vcn != vcn || r.count <= 0 || r.lcn != hole && (r.lcn < 0 || r.lcn+r.count > clusters) {
				t.Fatalf("%+v of %+v", r, runs)
			}
			vcn += r.count
		}
		if vcn != last+1 {
			t.Fatalf("the runs end at %d, want %d", vcn, last+1)
		}
	})
}
