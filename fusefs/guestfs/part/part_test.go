package part

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

const mib = 1 << 20

// tool runs an official tool, and skips the test where it is missing.
func tool(t *testing.T, stdin string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(needs.Tool(t, name), args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

func image(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func read(t *testing.T, b []byte, sector int) *Table {
	t.Helper()
	table, err := Read(bytes.NewReader(b), int64(len(b)), sector)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func gptImage(t *testing.T) []byte {
	path := image(t, 16*mib)
	tool(t, "", "sgdisk", "-U", "11111111-2222-3333-4444-555555555555",
		"-n1:1M:+1M", "-t1:ef00", "-c1:EFI system", "-u1:AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE",
		"-n5:4M:+2M", "-c5:größe", "-u5:AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEE5", path)
	return load(t, path)
}

var wantGPT = []Partition{
	{1, mib, mib, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "EFI system"},
	{5, 4 * mib, 2 * mib, "0fc63daf-8483-4772-8e79-3d69d8477de4", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeee5", "größe"},
}

func TestAGPTIsReadAsSgdiskWroteIt(t *testing.T) {
	t.Parallel()
	table := read(t, gptImage(t), 512)
	if table.Scheme != GPT || table.ID != "11111111-2222-3333-4444-555555555555" || len(table.Notes) != 0 {
		t.Errorf("table: %+v", table)
	}
	if !reflect.DeepEqual(table.Partitions, wantGPT) {
		t.Errorf("partitions: %+v", table.Partitions)
	}
}

func TestADamagedGPTIsReadFromItsBackupCopyAndSaysSo(t *testing.T) {
	t.Parallel()
	whole := gptImage(t)
	for name, at := range map[string]int{"header": 512 + 60, "entries": 1024 + 32, "both copies of the front": 512} {
		b := bytes.Clone(whole)
		b[at] ^= 1
		table := read(t, b, 512)
		if !reflect.DeepEqual(table.Partitions, wantGPT) || len(table.Notes) != 1 || !strings.Contains(table.Notes[0], "backup") {
			t.Errorf("%s: %+v", name, table)
		}
	}
	grown := append(bytes.Clone(whole), make([]byte, 4*mib)...)
	grown[1024] ^= 1 // the backup copy is no longer at the end, and the header says where
	if table := read(t, grown, 0); len(table.Partitions) != 2 {
		t.Errorf("a disk that was grown: %+v", table)
	}
	clear(whole[:512])
	if table := read(t, whole, 0); len(table.Partitions) != 2 || len(table.Notes) != 1 {
		t.Errorf("a lost MBR: %+v", table)
	}
	whole[0x1fe], whole[0x1ff], whole[446+4] = 0x55, 0xaa, 0xee
	whole[446+12] = 1
	whole[512], whole[len(whole)-512] = 0, 0
	if _, err := Read(bytes.NewReader(whole), int64(len(whole)), 0); !errors.Is(err, ErrDamaged) {
		t.Errorf("both copies damaged: %v", err)
	}
}

func TestAGPTOfADiskWithSectorsOf4KIsRead(t *testing.T) {
	t.Parallel()
	b := relayout(gptImage(t))
	for _, sector := range []int{0, 512, 4096} {
		table := read(t, b, sector)
		if table.Sector != 4096 || len(table.Partitions) != 1 || table.Partitions[0].Off != 2*mib || table.Partitions[0].Len != 40960 {
			t.Errorf("sector %d: %+v", sector, table)
		}
	}
	b[4096+60] ^= 1
	if table := read(t, b, 0); len(table.Partitions) != 1 || len(table.Notes) != 1 {
		t.Errorf("from the backup copy: %+v", table)
	}
}

// relayout writes, after UEFI's specification, a table of one partition for sectors
// of 4096 bytes with both copies.
func relayout(mbr []byte) []byte {
	const sector, last = 4096, 16*mib/4096 - 1
	b := make([]byte, 16*mib)
	copy(b, mbr[:512])
	le := binary.LittleEndian
	entries := make([]byte, 128*128)
	copy(entries[:32], bytes.Repeat([]byte{7}, 32))
	le.PutUint64(entries[32:], 2*mib/sector)
	le.PutUint64(entries[40:], 2*mib/sector+9)
	put := func(at, other, list uint64) {
		h := b[at*sector:]
		copy(h, "EFI PART")
		le.PutUint32(h[8:], 1<<16)
		le.PutUint32(h[12:], 92)
		le.PutUint64(h[24:], at)
		le.PutUint64(h[32:], other)
		le.PutUint64(h[72:], list)
		le.PutUint32(h[80:], 128)
		le.PutUint32(h[84:], 128)
		le.PutUint32(h[88:], crc32.ChecksumIEEE(entries))
		le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
		copy(b[list*sector:], entries)
	}
	put(1, last, 2)
	put(last, 1, last-4)
	return b
}

func mbrImage(t *testing.T) []byte {
	path := image(t, 32*mib)
	tool(t, "label: dos\nlabel-id: 0xcafe1234\nunit: sectors\n"+
		"1: start=2048, size=4096, type=83, bootable\n"+
		"2: start=8192, size=40960, type=5\n"+
		"5: start=10240, size=2048, type=83\n6: start=14336, size=4096, type=82\n7: start=20480, size=2048, type=8e\n"+
		"3: start=53248, size=2048, type=7\n", "sfdisk", "--quiet", path)
	return load(t, path)
}

func TestAnMBRIsReadWithItsLogicalPartitions(t *testing.T) {
	t.Parallel()
	table := read(t, mbrImage(t), 512)
	want := []Partition{
		{1, 2048 * 512, 4096 * 512, "83", "cafe1234-01", ""},
		{3, 53248 * 512, 2048 * 512, "07", "cafe1234-03", ""},
		{5, 10240 * 512, 2048 * 512, "83", "cafe1234-05", ""},
		{6, 14336 * 512, 4096 * 512, "82", "cafe1234-06", ""},
		{7, 20480 * 512, 2048 * 512, "8e", "cafe1234-07", ""},
	}
	if table.Scheme != MBR || table.ID != "cafe1234" || !reflect.DeepEqual(table.Partitions, want) || len(table.Notes) != 0 {
		t.Errorf("%+v", table)
	}
}

func TestAChainOfLogicalPartitionsThatComesBackEnds(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]uint32{"to itself": 0, "beyond its partition": 1 << 30, "far beyond any disk": 1<<32 - 1} {
		b := mbrImage(t)
		binary.LittleEndian.PutUint32(b[8192*512+446+16+8:], next)
		table := read(t, b, 512)
		if len(table.Partitions) != 3 || len(table.Notes) != 1 || !strings.Contains(table.Notes[0], "chain") {
			t.Errorf("%s: %+v", name, table)
		}
	}
}

func TestPartitionsThatTheDiskDoesNotHoldAreCutOrLeftOut(t *testing.T) {
	t.Parallel()
	b := mbrImage(t)[:53248*512+512]
	table := read(t, b, 512)
	if len(table.Partitions) != 5 || table.Partitions[1].Len != 512 || len(table.Notes) != 1 {
		t.Errorf("%+v", table)
	}
}

func TestADiskThatIsOneFileSystemHasNoTable(t *testing.T) {
	t.Parallel()
	for _, mkfs := range [][]string{{"mkfs.ext4", "-q"}, {"mkfs.vfat"}, {"mkfs.ntfs", "-q", "-F", "-Q"}} {
		t.Run(mkfs[0], func(t *testing.T) {
			t.Parallel()
			path := image(t, 32*mib)
			tool(t, "", mkfs[0], append(mkfs[1:], path)...)
			if table := read(t, load(t, path), 512); table.Scheme != None || len(table.Partitions) != 0 {
				t.Errorf("%+v", table)
			}
		})
	}
	if table := read(t, make([]byte, mib), 0); table.Scheme != None {
		t.Errorf("an empty disk: %+v", table)
	}
	if table := read(t, nil, 0); table.Scheme != None {
		t.Errorf("no disk: %+v", table)
	}
}

type broken struct{ err error }

func (b broken) ReadAt([]byte, int64) (int, error) { return 0, b.err }

func TestWhatTheDiskFailsWithIsTheError(t *testing.T) {
	t.Parallel()
	failure := errors.New("the vault does not answer")
	if _, err := Read(broken{failure}, mib, 0); !errors.Is(err, failure) {
		t.Errorf("%v", err)
	}
}

// FuzzRead mutates tables, with their checksums made right again.
func FuzzRead(f *testing.F) {
	mbr := make([]byte, 512)
	mbr[510], mbr[511], mbr[450], mbr[458] = 0x55, 0xaa, 0xee, 1
	f.Add(relayout(mbr)[:4096*4], uint8(1))
	mbr[450] = 5
	f.Add(mbr, uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, fix uint8) {
		if len(b) > 1<<16 {
			return
		}
		disk := make([]byte, 1<<17)
		copy(disk, b)
		for _, sector := range []int{512, 4096} {
			if h := disk[sector:]; fix&1 != 0 && bytes.HasPrefix(h, []byte("EFI PART")) {
				le := binary.LittleEndian
				list, n := le.Uint64(h[72:])*uint64(sector), uint64(le.Uint32(h[80:]))*uint64(le.Uint32(h[84:]))
				if list < uint64(len(disk)) && n < uint64(len(disk))-list {
					le.PutUint32(h[88:], crc32.ChecksumIEEE(disk[list:list+n]))
				}
				le.PutUint32(h[12:], 92)
				clear(h[16:20])
				le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
			}
		}
		table, err := Read(bytes.NewReader(disk), int64(len(disk)), 0)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		for _, p := range table.Partitions {
			if p.Off <= 0 || p.Len <= 0 || p.Off+p.Len > int64(len(disk)) || p.Off+p.Len < p.Off {
				t.Fatalf("%+v is not within the disk", p)
			}
		}
	})
}

func TestAPartitionMayBeginWithItsTable(t *testing.T) {
	t.Parallel()
	b := make([]byte, 1<<20)
	b[446+4] = 7
	binary.LittleEndian.PutUint32(b[446+12:], 1<<20/512)
	b[510], b[511] = 0x55, 0xaa
	table, err := Read(bytes.NewReader(b), int64(len(b)), 512)
	if err != nil || len(table.Partitions) != 1 || table.Partitions[0].Off != 0 || table.Partitions[0].Len != 1<<20 {
		t.Errorf("%+v, %v", table, err)
	}
}
