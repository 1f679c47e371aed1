package thin

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

const (
	block  = 64 << 10
	blocks = 40_000 // of data
)

// numbered is a device of data in which every 8 bytes are their own offset.
type numbered struct{}

func (numbered) ReadAt(p []byte, off int64) (int, error) {
	for i := range p {
		at := off + int64(i)
		p[i] = byte((at &^ 7) >> (8 * (at & 7)))
	}
	return len(p), nil
}

// restored has thin_restore write metadata: volume 1 of single blocks and runs, volume 7
// of one block far away, volume 9 without any. mapped is volume 1 by block.
func restored(t testing.TB) (metadata []byte, mapped map[int64]int64) {
	t.Helper()
	tool := needs.Tool(t, "thin_restore")
	r := rand.New(rand.NewPCG(3, 3))
	mapped = map[int64]int64{}
	var xml strings.Builder
	count := int64(0)
	for at, data := int64(5), int64(0); data < 30_000; {
		if n := int64(r.IntN(5)); n > 0 {
			fmt.Fprintf(&xml, "<range_mapping origin_begin=\"%d\" data_begin=\"%d\" length=\"%d\" time=\"%d\"/>\n", at, data, n, r.IntN(3))
			for i := range n {
				mapped[at+i] = data + i
			}
			at, data, count = at+n, data+n, count+n
		}
		at, data = at+1+int64(r.IntN(3)), data+int64(r.IntN(2))
	}
	text := fmt.Sprintf(`<superblock uuid="" time="2" transaction="4" flags="0" version="2" data_block_size="%d" nr_data_blocks="%d">
<device dev_id="1" mapped_blocks="%d" transaction="1" creation_time="0" snap_time="1">
%s</device>
<device dev_id="7" mapped_blocks="1" transaction="2" creation_time="1" snap_time="1">
<single_mapping origin_block="1000000" data_block="39999" time="1"/>
</device>
<device dev_id="9" mapped_blocks="0" transaction="2" creation_time="1" snap_time="1"></device>
</superblock>`, block/512, blocks, count, xml.String())
	dir := t.TempDir()
	in, out := filepath.Join(dir, "xml"), filepath.Join(dir, "metadata")
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(out, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.CommandContext(t.Context(), tool, "-i", in, "-o", out).CombinedOutput(); err != nil {
		t.Fatalf("thin_restore: %v: %s", err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b, mapped
}

func pool(b []byte) (*Pool, error) {
	return Open(bytes.NewReader(b), int64(len(b)), numbered{}, blocks*block)
}

func TestVolumesLieWhereThinRestorePutThem(t *testing.T) {
	t.Parallel()
	b, mapped := restored(t)
	p, err := pool(b)
	if err != nil || p.BlockSize() != block || p.NeedsCheck() {
		t.Fatalf("%+v, %v", p, err)
	}
	const size = 70_000*block - 100
	v, err := p.Volume(1, size)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 3*block)
	for at := int64(0); at < 70_000-3; at += 3 {
		if at%15 != 0 && at > 3000 {
			continue // all of it takes long
		}
		if _, err := v.ReadAt(got, at*block); err != nil {
			t.Fatal(err)
		}
		for i := range int64(3) {
			data, there := mapped[at+i]
			first, last := binary.LittleEndian.Uint64(got[i*block:]), binary.LittleEndian.Uint64(got[(i+1)*block-8:])
			if !there && (first != 0 || last != 0) || there && (first != uint64(data*block) || last != uint64((data+1)*block-8)) {
				t.Fatalf("block %d begins with %d; it lies at %d, %v", at+i, first, data*block, there)
			}
		}
	}
	if n, err := v.ReadAt(got, size-10); n != 10 || err != io.EOF {
		t.Errorf("past the end: %d, %v", n, err)
	}
	far, err := p.Volume(7, 2_000_000*block)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := far.ReadAt(got, 1_000_000*block-block); n != len(got) || err != nil ||
		binary.LittleEndian.Uint64(got) != 0 || binary.LittleEndian.Uint64(got[block:]) != 39999*block || got[2*block+9] != 0 {
		t.Errorf("the block that is far away: %d, %v", n, err)
	}
	if none, err := p.Volume(9, block); err != nil {
		t.Error(err)
	} else if n, err := none.ReadAt(got[:100], 0); n != 100 || err != nil || !bytes.Equal(got[:100], make([]byte, 100)) {
		t.Errorf("a volume without blocks: %d, %v", n, err)
	}
	if _, err := p.Volume(2, block); err == nil || !strings.Contains(err.Error(), "no volume 2") {
		t.Errorf("%v", err)
	}
}

// mend makes checksums and numbers of all blocks right.
func mend(b []byte) {
	for n := 0; n < len(b)/blockSize; n++ {
		c, salt := b[n*blockSize:][:blockSize], uint32(saltNode)
		if n == 0 {
			salt = saltSuper
		}
		binary.LittleEndian.PutUint64(c[8:], uint64(n))
		binary.LittleEndian.PutUint32(c, sum(c, salt))
	}
}

func TestHostileMetadataIsAnErrorAndEnds(t *testing.T) {
	t.Parallel()
	whole, _ := restored(t)
	le := binary.LittleEndian
	root := int(le.Uint64(whole[320:])) * blockSize
	top := int(le.Uint64(whole[root+nodeHead+8*int(le.Uint32(whole[root+20:])):])) * blockSize // of volume 1
	for want, change := range map[string]func(b []byte){
		"no superblock":      func(b []byte) { b[33]++ },
		"version 99":         func(b []byte) { b[40] = 99 },
		"features":           func(b []byte) { b[360] = 1 },
		"blocks of 0":        func(b []byte) { le.PutUint32(b[336:], 0) },
		"blocks of 65024":    func(b []byte) { le.PutUint32(b[336:], 127) },
		"blocks of metadata": func(b []byte) { le.PutUint32(b[340:], 16) },
		"it names block":     func(b []byte) { le.PutUint64(b[320:], 1<<63) },
		"node of kind 7":     func(b []byte) { b[root+4] = 7 },
		"values of 24 bytes": func(b []byte) { b[root+24] = 24 },
		"with 1000 of":       func(b []byte) { le.PutUint32(b[root+16:], 1000) },
		"of 1000 values":     func(b []byte) { le.PutUint32(b[root+20:], 1000) },
		"not in order":       func(b []byte) { le.PutUint64(b[root+nodeHead:], 100) },
		"more than 16 deep":  func(b []byte) { le.PutUint64(b[top+nodeHead+8*int(le.Uint32(b[top+20:])):], uint64(top/blockSize)) },
		"of 2621440000 bytes ": func(b []byte) {
			leaf := leafOf(b, top)
			le.PutUint64(b[leaf+nodeHead+8*int(le.Uint32(b[leaf+20:])):], 1<<63)
		},
	} {
		b := bytes.Clone(whole)
		change(b)
		mend(b)
		p, err := pool(b)
		if err == nil {
			var v *Volume
			if v, err = p.Volume(1, 70_000*block); err == nil {
				_, err = v.ReadAt(make([]byte, block), 5*block)
			}
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	for _, change := range []int{5, root + 100} {
		b := bytes.Clone(whole)
		b[change] ^= 1
		p, err := pool(b)
		if err == nil {
			_, err = p.Volume(1, block)
		}
		if err == nil || !strings.Contains(err.Error(), "checksum") {
			t.Errorf("a bit at %d: %v", change, err)
		}
	}
}

// leafOf is where the first leaf below a node lies.
func leafOf(b []byte, at int) int {
	le := binary.LittleEndian
	for le.Uint32(b[at+4:]) == 1 {
		at = int(le.Uint64(b[at+nodeHead+8*int(le.Uint32(b[at+20:])):])) * blockSize
	}
	return at
}

// FuzzPool changes metadata behind its checksums.
func FuzzPool(f *testing.F) {
	whole, _ := restored(f)
	f.Add([]byte{0, 1, 64, 3, 0, 2, 20, 9})
	f.Fuzz(func(t *testing.T, changes []byte) {
		b := bytes.Clone(whole[:64*blockSize])
		for ; len(changes) >= 4; changes = changes[4:] {
			b[(int(changes[0])<<16|int(changes[1])<<8|int(changes[2]))%len(b)] ^= changes[3]
		}
		mend(b)
		p, err := pool(b)
		if err != nil {
			return
		}
		for _, n := range []uint64{1, 7, 9} {
			if v, err := p.Volume(n, 2_000_000*block); err == nil {
				got := make([]byte, 10_000)
				for _, off := range []int64{0, 5 * block, 777_777_777, 1_000_000 * block} {
					v.ReadAt(got, off)
				}
			}
		}
	})
}
