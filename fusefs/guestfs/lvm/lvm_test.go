package lvm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

const (
	mib       = 1 << 20
	metaAt    = 4096
	metaSize  = mib - metaAt
	dataAt    = mib
	extent    = 64 << 10
	idOfGroup = "GGGGGG-GGGG-GGGG-GGGG-GGGG-GGGG-GGGGGG"
)

// pvID is the id of the n-th physical volume, as it lies in a label.
func pvID(n int) string { return strings.Repeat(string(rune('a'+n)), 32) }

// pvImage makes a physical volume whose text begins at `at` of its ring, and its data
// random. text may be empty: it holds no metadata then.
func pvImage(n, size int, text string, at uint64) []byte {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(n)})
	r.Read(b[dataAt:])
	le := binary.LittleEndian
	label := b[512:1024]
	copy(label, "LABELONE")
	le.PutUint64(label[8:], 1)
	le.PutUint32(label[20:], 32)
	copy(label[24:], "LVM2 001")
	copy(label[32:], pvID(n))
	le.PutUint64(label[64:], uint64(size))
	le.PutUint64(label[72:], dataAt) // data areas: one, to the end
	le.PutUint64(label[104:], metaAt)
	le.PutUint64(label[112:], metaSize)
	le.PutUint32(label[16:], checksum(label[20:]))
	area := b[metaAt:dataAt]
	writeText(area, text, at)
	return b
}

func writeText(area []byte, text string, at uint64) {
	le := binary.LittleEndian
	copy(area[4:], " LVM2 x[5A%r0N*>")
	le.PutUint32(area[20:], 1)
	le.PutUint64(area[24:], metaAt)
	le.PutUint64(area[32:], uint64(len(area)))
	if text != "" {
		text += "\x00"
		le.PutUint64(area[40:], at)
		le.PutUint64(area[48:], uint64(len(text)))
		le.PutUint32(area[56:], checksum([]byte(text)))
		n := copy(area[at:], text)
		copy(area[512:], text[n:])
	}
	le.PutUint32(area, checksum(area[4:512]))
}

// group is the text of a volume group of so many physical volumes.
func group(seqno, pvs int, lvs string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "vg0 {\nid = %q\nseqno = %d\nstatus = [\"RESIZEABLE\", \"READ\"]\nextent_size = %d\nphysical_volumes {\n", idOfGroup, seqno, extent/512)
	for n := range pvs {
		fmt.Fprintf(&b, "pv%d {\nid = %q\ndevice = \"/dev/sd%c\"\t# Hint only\npe_start = %d\n}\n", n, dashed(pvID(n)), 'a'+n, dataAt/512)
	}
	fmt.Fprintf(&b, "}\nlogical_volumes {\n%s}\n}\ncontents = \"Text Format Volume Group\"\nversion = 1\n", lvs)
	return b.String()
}

// lv is the text of a logical volume of the given segments.
func lv(name, status string, segments ...string) string {
	s := fmt.Sprintf("%s {\nid = \"id of %s\"\nstatus = [%s]\nsegment_count = %d\n", name, name, status, len(segments))
	for i, seg := range segments {
		s += fmt.Sprintf("segment%d {\n%s\n}\n", i+1, seg)
	}
	return s + "}\n"
}

func seg(start, count int, kind, rest string) string {
	return fmt.Sprintf("start_extent = %d\nextent_count = %d\ntype = %q\n%s", start, count, kind, rest)
}

const visible = `"READ", "WRITE", "VISIBLE"`

// open assembles the group that lies on the given images; nil ones are missing.
func open(t testing.TB, images ...[]byte) Group {
	t.Helper()
	var devices []Device
	for i, b := range images {
		if b == nil {
			continue
		}
		pv, err := ReadPV(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		devices = append(devices, Device{fmt.Sprintf("vd%c", 'a'+i), bytes.NewReader(b), pv})
	}
	groups := Assemble(devices)
	if len(groups) != 1 {
		t.Fatalf("%d groups", len(groups))
	}
	return groups[0]
}

func volume(t testing.TB, g Group, name string) *Volume {
	t.Helper()
	for _, v := range g.Volumes {
		if v.Name == name {
			return v
		}
	}
	t.Fatalf("no volume %s in %+v", name, g)
	return nil
}

// content reads a volume in odd pieces.
func content(t testing.TB, v *Volume) []byte {
	t.Helper()
	out := make([]byte, v.Size)
	for off := 0; off < len(out); {
		n, err := v.ReadAt(out[off:min(off+10007, len(out))], int64(off))
		if err != nil {
			t.Fatal(v.Name, err)
		}
		off += n
	}
	whole := make([]byte, v.Size+1)
	if n, err := v.ReadAt(whole, 0); int64(n) != v.Size || err != io.EOF || !bytes.Equal(whole[:n], out) {
		t.Fatalf("%s: a read past the end gave %d of %d, %v", v.Name, n, v.Size, err)
	}
	return out
}

func TestAMirrorIsReadFromALegThatIsHere(t *testing.T) {
	t.Parallel()
	lvs := lv("raid", visible, seg(0, 4, "raid1", `device_count = 2
raids = [ "raid_rmeta_0", "raid_rimage_0", "raid_rmeta_1", "raid_rimage_1" ]`)) +
		lv("raid_rimage_0", `"READ"`, seg(0, 4, "striped", "stripe_count = 1\nstripes = [ \"pv0\", 1 ]")) +
		lv("raid_rimage_1", `"READ"`, seg(0, 4, "striped", "stripe_count = 1\nstripes = [ \"pv1\", 2 ]")) +
		lv("mirror", visible, seg(0, 2, "mirror", `mirrors = [ "m0", 0, "m1", 0 ]`)) +
		lv("m0", `"READ"`, seg(0, 2, "striped", "stripes = [ \"pv0\", 8 ]")) +
		lv("m1", `"READ"`, seg(0, 2, "striped", "stripes = [ \"pv1\", 8 ]")) +
		lv("filling", visible, seg(0, 4, "raid1", `raids = [ "x", "filling_rimage_0", "x", "raid_rimage_1" ]`)) +
		lv("filling_rimage_0", `"READ", "REBUILD"`, seg(0, 4, "striped", "stripes = [ \"pv0\", 1 ]"))
	a, b := pvImage(0, 2*mib, group(1, 2, lvs), 512), pvImage(1, 2*mib, "", 0)
	g := open(t, a, b)
	first, second := a[dataAt+extent:][:4*extent], b[dataAt+2*extent:][:4*extent]
	if !bytes.Equal(content(t, volume(t, g, "raid")), first) || !bytes.Equal(content(t, volume(t, g, "mirror")), a[dataAt+8*extent:][:2*extent]) {
		t.Error("the first leg is not what is read")
	}
	if !bytes.Equal(content(t, volume(t, g, "filling")), second) {
		t.Error("a leg that is not filled yet was read")
	}
	writeText(b[metaAt:dataAt], group(1, 2, lvs), 512)
	g = open(t, nil, b)
	v := volume(t, g, "raid")
	if !bytes.Equal(content(t, v), second) || !strings.Contains(v.Note, "raid_rimage_1") {
		t.Errorf("the second leg is not read when it alone is here: %+v", v)
	}
	if len(g.Volumes) != 3 || len(g.Missing) != 1 || g.Missing[0].Device != "/dev/sda" {
		t.Errorf("%+v", g)
	}
}

func TestTheNewestMetadataHoldsWhereverItLies(t *testing.T) {
	t.Parallel()
	old := group(3, 2, lv("old", visible, seg(0, 1, "striped", `stripes = [ "pv0", 0 ]`)))
	now := group(4, 2, lv("now", visible, seg(0, 1, "striped", `stripes = [ "pv0", 3 ]`)))
	// The newer text goes around the end of its ring.
	a, b := pvImage(0, 2*mib, old, 512), pvImage(1, 2*mib, now, metaSize-100)
	g := open(t, a, b)
	if !bytes.Equal(content(t, volume(t, g, "now")), a[dataAt+3*extent:][:extent]) || len(g.Volumes) != 1 || len(g.Notes) != 1 {
		t.Errorf("%+v", g)
	}
	b[metaAt+600] ^= 1 // in the text, behind the ring's end
	b[dataAt-50] ^= 1
	g = open(t, a, b)
	volume(t, g, "old")
	if len(g.Notes) != 1 || !strings.Contains(g.Notes[0], "checksum") {
		t.Errorf("damage is not told: %+v", g)
	}
}

func TestAVolumeOnADiskThatIsNotHereNamesIt(t *testing.T) {
	t.Parallel()
	lvs := lv("split", visible, seg(0, 1, "striped", `stripes = [ "pv0", 0 ]`), seg(1, 1, "striped", `stripes = [ "pv1", 0 ]`)) +
		lv("here", visible, seg(0, 1, "striped", `stripes = [ "pv0", 4 ]`))
	a := pvImage(0, 2*mib, group(1, 2, lvs), 512)
	g := open(t, a, nil)
	content(t, volume(t, g, "here"))
	lacks := (*MissingError)(nil)
	if err := volume(t, g, "split").Err; !errors.As(err, &lacks) || lacks.Missing[0] != (Missing{dashed(pvID(1)), "/dev/sdb"}) {
		t.Errorf("%v", err)
	}
}

func TestOtherKindsOfVolumesAreNamed(t *testing.T) {
	t.Parallel()
	lvs := lv("t", visible, seg(0, 1, "thin", "thin_pool = \"pool\"\nexternal_origin = \"origin\"")) + lv("v", visible, seg(0, 1, "vdo", "")) +
		lv("c", visible, seg(0, 1, "cache", "cache_pool = \"p\"\norigin = \"origin\"")) +
		lv("origin", visible, seg(0, 1, "striped", `stripes = [ "pv0", 0 ]`)) + lv("snap", visible, seg(0, 1, "striped", `stripes = [ "pv0", 1 ]`)) +
		lv("snapshot0", `"READ"`, seg(0, 1, "snapshot", "origin = \"origin\"\ncow_store = \"snap\""))
	g := open(t, pvImage(0, 2*mib, group(1, 1, lvs), 512))
	for name, kind := range map[string]string{"t": "thin with an origin outside its pool", "v": "vdo", "c": "cache, in which mode is not known", "snap": "snapshot of origin"} {
		named := (*KindError)(nil)
		if err := volume(t, g, name).Err; !errors.As(err, &named) || named.Kind != kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	content(t, volume(t, g, "origin"))
}

func TestHostileMetadataIsAnErrorOfTheVolume(t *testing.T) {
	t.Parallel()
	var wide strings.Builder
	for i := range 6 {
		parts := strings.TrimSuffix(strings.Repeat(fmt.Sprintf(`"x%d", 0, `, i+1), 100), ", ")
		wide.WriteString(lv(fmt.Sprintf("x%d", i), visible, seg(0, 1, "striped", "stripe_size = 8\nstripes = [ "+parts+" ]")))
	}
	for name, lvs := range map[string]string{
		"in itself":         lv("x", visible, seg(0, 1, "striped", `stripes = [ "x", 0 ]`)),
		"in each other":     lv("x", visible, seg(0, 1, "mirror", `mirrors = [ "y", 0 ]`)) + lv("y", visible, seg(0, 1, "mirror", `mirrors = [ "x", 0 ]`)),
		"wide and deep":     wide.String() + lv("x6", visible, seg(0, 1, "striped", `stripes = [ "nothing", 0 ]`)),
		"a gap":             lv("x", visible, seg(1, 1, "striped", `stripes = [ "pv0", 0 ]`)),
		"an overlap":        lv("x", visible, seg(0, 2, "striped", `stripes = [ "pv0", 0 ]`), seg(1, 2, "striped", `stripes = [ "pv0", 0 ]`)),
		"a pool in itself":  lv("x", visible, seg(0, 1, "thin-pool", "chunk_size = 128\npool = \"x\"\nmetadata = \"x\"")) + lv("y", visible, seg(0, 1, "thin", "thin_pool = \"x\"\ndevice_id = 1")),
		"no pool":           lv("x", visible, seg(0, 1, "thin", "thin_pool = \"pv0\"\ndevice_id = 1")),
		"a leg in itself":   lv("x", visible, seg(0, 1, "raid5", "stripe_size = 8\nraids = [ \"x\", \"x\", \"x\", \"x\", \"x\", \"x\" ]")),
		"a cache in itself": lv("x", visible, seg(0, 1, "cache", "cache_mode = \"writethrough\"\ncache_pool = \"x\"\norigin = \"x\"")),
		"legs too short": lv("x", visible, seg(0, 9, "raid5", "stripe_size = 8\nraids = [ \"\", \"l\", \"\", \"l\", \"\", \"l\" ]")) +
			lv("l", `"READ"`, seg(0, 1, "striped", `stripes = [ "pv0", 0 ]`)),
		"no segment at all": lv("x", visible),
	} {
		for _, v := range open(t, pvImage(0, 2*mib, group(1, 1, lvs), 512)).Volumes {
			if v.Err == nil {
				t.Errorf("%s: volume %s is believed", name, v.Name)
			}
			if _, err := v.ReadAt(make([]byte, 10), 0); err == nil {
				t.Errorf("%s: volume %s can be read", name, v.Name)
			}
		}
	}
	for name, lvs := range map[string]string{
		"huge count":     lv("x", visible, seg(0, 1<<50, "striped", `stripes = [ "pv0", 0 ]`)),
		"negative":       lv("x", visible, seg(-1, 1, "striped", `stripes = [ "pv0", 0 ]`)),
		"odd list":       lv("x", visible, seg(0, 1, "striped", `stripes = [ "pv0" ]`)),
		"names nowhere":  lv("x", visible, seg(0, 1, "striped", `stripes = [ ]`)),
		"no stripe size": lv("x", visible, seg(0, 1, "striped", `stripes = [ "pv0", 0, "pv0", 9 ]`)),
		"raid of one":    lv("x", visible, seg(0, 1, "raid5", "stripe_size = 8\nraids = [ \"a\", \"b\" ]")),
		"raid no stripe": lv("x", visible, seg(0, 1, "raid0", "raid0_lvs = [ \"a\", \"b\" ]")),
		"deep":           strings.Repeat("a {", 100) + strings.Repeat("}", 100),
		"no end":         `x = "`,
		"a nested list":  `x = [ [ 1 ] ]`,
	} {
		pv, err := ReadPV(bytes.NewReader(pvImage(0, 2*mib, group(1, 1, lvs), 512)))
		if err != nil || pv.group != nil || len(pv.Notes) != 1 {
			t.Errorf("%s: %+v, %v", name, pv, err)
		}
	}
}

func TestADiskWithoutALabelIsNoPhysicalVolume(t *testing.T) {
	t.Parallel()
	b := pvImage(0, 2*mib, "", 0)
	b[540] ^= 1
	for _, b := range [][]byte{nil, make([]byte, 100), make([]byte, 4096), b} {
		if _, err := ReadPV(bytes.NewReader(b)); !errors.Is(err, ErrNotPV) {
			t.Errorf("%v", err)
		}
	}
}

// FuzzGroup has texts of metadata assembled and read.
func FuzzGroup(f *testing.F) {
	f.Add(group(1, 2, lv("root", visible, seg(0, 4, "striped", "stripe_size = 128\nstripes = [ \"pv0\", 0, \"pv1\", 0 ]"))))
	f.Add(group(1, 1, lv("r", visible, seg(0, 4, "raid1", `raids = [ "m", "i" ]`))+lv("i", "", seg(0, 4, "linear", `stripes = [ "pv0", 1 ]`))))
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > metaSize/2 {
			return
		}
		var devices []Device
		for n := range 2 {
			b := pvImage(n, dataAt+extent, text, 512)
			pv, err := ReadPV(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			devices = append(devices, Device{"vda", bytes.NewReader(b), pv})
		}
		for _, g := range Assemble(devices) {
			for _, v := range g.Volumes {
				p := make([]byte, 3*4096)
				for _, off := range []int64{0, v.Size / 2, v.Size - 1, v.Size} {
					if n, err := v.ReadAt(p, off); n < len(p) && err == nil {
						t.Fatalf("a short read of %d without an error", n)
					}
				}
			}
		}
	})
}

// FuzzLabel has labels and areas read, with their checksums made right again.
func FuzzLabel(f *testing.F) {
	f.Add(pvImage(0, dataAt, group(1, 1, ""), 512)[:8192])
	f.Fuzz(func(t *testing.T, b []byte) {
		disk := make([]byte, 1<<16)
		copy(disk, b)
		le := binary.LittleEndian
		le.PutUint32(disk[512+16:], checksum(disk[512+20:1024]))
		le.PutUint32(disk[4096:], checksum(disk[4100:4096+512]))
		if at, n := le.Uint64(disk[4096+40:]), le.Uint64(disk[4096+48:]); at < 1<<15 && n < 1<<14 {
			le.PutUint32(disk[4096+56:], checksum(disk[4096+at:][:n]))
			le.PutUint32(disk[4096:], checksum(disk[4100:4096+512]))
		}
		pv, err := ReadPV(bytes.NewReader(disk))
		if err == nil {
			Assemble([]Device{{"vda", bytes.NewReader(disk), pv}})
		}
	})
}
