package blockstore

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// goldens collects the files of the golden vault.
type goldens struct {
	t     *testing.T
	dir   string // where they lie
	keys  *content.Keys
	files map[string][]byte
	// sealed is set for the sealed vault: its VAULT and texts are encrypted with
	// random numbers, so that the files that are there are taken when they say the same.
	sealed bool
}

func (g *goldens) seal() pack.Seal {
	if g.sealed {
		return pack.AES256GCM
	}
	return pack.Unsealed
}

func (g *goldens) record(kind recordKind, path string, v any) []byte {
	b, err := encodeRecord(g.keys, g.sealed, kind, path, v)
	if err != nil {
		g.t.Fatal(err)
	}
	if g.sealed && kind.sealable() && !*update {
		b = g.asThere(kind, path, v)
	}
	g.files[path] = b
	return b
}

// asThere returns the record that is there, if it says what v does.
func (g *goldens) asThere(kind recordKind, path string, v any) []byte {
	b, err := os.ReadFile(filepath.Join(g.dir, path))
	if err != nil {
		g.t.Fatal(err)
	}
	var body json.RawMessage
	if err := decodeRecord(g.keys, kind, path, b, &body); err != nil {
		g.t.Fatal(err)
	}
	want, err := json.MarshalIndent(v, "", " ")
	if err != nil || !bytes.Equal(want, body) {
		g.t.Errorf("%s says %s, want %s (%v)", path, body, want, err)
	}
	return b
}

// keyring wraps the secret of the sealed vault, for goldenIdentity and a
// passphrase, or takes what is there.
func (g *goldens) keyring(secret content.Secret, path string) (keys []Key) {
	if !*update {
		b, err := os.ReadFile(filepath.Join(g.dir, path))
		if err != nil {
			g.t.Fatal(err)
		}
		var head vaultRecord
		if err := decodeRecord(g.keys, vaultKind, path, b, &head); err != nil {
			g.t.Fatal(err)
		}
		return head.Keys
	}
	fresh := &freshVault{secret: secret}
	for _, w := range []SealWith{{Passphrase: goldenPassphrase, Work: 10}, {Recipient: goldenRecipient, Note: "recovery key"}} {
		k, err := w.wrap(fresh)
		if err != nil {
			g.t.Fatal(err)
		}
		k.Added = goldenTime.Add(-time.Hour)
		keys = append(keys, k)
	}
	return keys
}

// file is a file of the golden vault that is written at offsets.
type goldenFile struct {
	g    *goldens
	path string
}

func (f goldenFile) WriteAt(p []byte, off int64) (int, error) {
	b := f.g.files[f.path]
	b = append(b, make([]byte, max(0, int(off)+len(p)-len(b)))...)
	f.g.files[f.path] = b
	return copy(b[off:], p), nil
}

// writer begins a pack, whose id repeats one byte.
func (g *goldens) writer(id byte, class pack.Class, vaultName string, vault []byte) *pack.Writer {
	h := pack.Header{Writer: goldenWriter.bytes(), Class: class, Seal: g.seal(), Created: goldenTime, VaultName: vaultName, Vault: vault}
	copy(h.ID[:], bytes.Repeat([]byte{id}, len(h.ID)))
	w, err := pack.NewWriter(goldenFile{g, packPath(goldenWriter, h.ID)}, h, g.keys)
	if err != nil {
		g.t.Fatal(err)
	}
	return w
}

func (g *goldens) store(w *pack.Writer, kind content.Kind, plain []byte) ID {
	var enc pack.Encoder
	id := g.keys.ID(kind, plain)
	rec, err := enc.Encode(nil, kind, id, plain)
	if err == nil {
		_, err = w.Append(rec)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	return id
}

func (g *goldens) close(w *pack.Writer) sealedPack {
	entries, size, err := w.Seal()
	if err != nil {
		g.t.Fatal(err)
	}
	return newSealed(w.ID(), size, entries)
}

// make writes the golden vault.
func (g *goldens) make() {
	var secret content.Secret
	for i := range secret {
		secret[i] = byte(i)
	}
	g.keys = content.Derive(secret)
	vaultName := vaultDir + "/00000001-0a0a0a0a"
	head := vaultRecord{ID: "0f0f0f0f0f0f0f0f", Name: "example", Created: goldenTime.Add(-time.Hour), BlockSize: goldenBlock, Codec: "lz4"}
	if g.sealed {
		head.Keys = g.keyring(secret, vaultName)
	} else {
		head.Secret = secret
	}
	vault := g.record(vaultKind, vaultName, head)

	blocks := g.writer(0xa0, pack.Blocks, vaultName, vault)
	disk := append(goldenDisk(), make([]byte, 3*goldenBlock-40_000)...)
	ids := []ID{g.store(blocks, content.Block, disk[:goldenBlock]), {}, g.store(blocks, content.Block, disk[2*goldenBlock:])}
	pages := g.writer(0xb0, pack.Pages, vaultName, vault)
	tree := diskmap.NewBuilder(3, nil, func(p []byte, _ int, _ int64) (ID, error) { return g.store(pages, content.Page, p), nil })
	if err := tree.Append(ids); err != nil {
		g.t.Fatal(err)
	}
	root, err := tree.Finish()
	if err != nil {
		g.t.Fatal(err)
	}
	domain := []byte("<domain type='kvm'/>\n")
	config := ConfigBlob{Name: "domain.xml", Size: int64(len(domain)), Parts: []ID{g.store(pages, content.Blob, domain)}}
	sealed := []sealedPack{g.close(blocks), g.close(pages)}

	sizes := Sizes{Logical: 40_000, Protected: 40_000 - goldenBlock, Changed: 40_000 - goldenBlock, Stored: 500, Read: 40_000}
	pointName := pointPath(goldenMachine, 1, goldenPoint)
	point := g.record(pointKind, pointName, Point{
		ID: goldenPoint, Machine: goldenMachine, MachineName: "web1", Seq: 1, Time: goldenTime, Committed: goldenTime.Add(1500 * time.Millisecond),
		Writer: goldenWriter, Tool: "holdfast 0.1", Asked: Filesystem, Reached: Crash, Reason: "the guest agent does not answer",
		Disks: []DiskInfo{{Name: "vda", Root: root, Size: 40_000, LogicalSector: 512, PhysicalSector: 4096, Format: "qcow2",
			Source: "/var/lib/libvirt/images/web1.qcow2", Serial: "S1", Bus: "virtio", BootOrder: 1, Sizes: sizes}},
		LeftOut: []LeftOut{{Name: "vdb", Size: 1 << 30, Reason: "left out by its policy"}},
		Config:  []ConfigBlob{config}, Sizes: sizes,
	})
	g.segment(sealed, pointName, point)

	g.record(machineKind, machinesDir+"/"+string(goldenMachine)+"/00000001-0d0d0d0d", Machine{ID: goldenMachine, Name: "web1", Generation: 1})
	g.record(attributeKind, attrsDir+"/"+string(goldenMachine)+"/"+string(goldenPoint)+"/00000001-0c0c0c0c",
		Attribute{Kind: Note, Point: goldenPoint, Seq: 1, Time: goldenTime.Add(time.Minute), By: "root", Text: "before the upgrade"})
	g.damage(sealed[0].ID, ids[2])
	g.record(ownerKind, ownerPath(goldenWriter), Ownership{Writer: goldenWriter, Host: "kvm1", HostID: strings.Repeat("ab", 16),
		BootID: "00000000-0000-4000-8000-000000000000", PID: 4711, Command: "holdfast backup web1", Nonce: "1234567812345678", Opened: goldenTime, Clean: true})
}

func (g *goldens) segment(sealed []sealedPack, pointName string, point []byte) {
	name := segmentsDir + "/" + string(goldenWriter) + "/00000001-0b0b0b0b"
	packs, entries := sortSealed(sealed)
	b := segment.NewBuilder(io.NewOffsetWriter(goldenFile{g, name}, 0), g.keys, name)
	for _, e := range entries {
		if err := b.Add(e); err != nil {
			g.t.Fatal(err)
		}
	}
	head := segment.Head{Writer: goldenWriter.bytes(), Seq: 1, Created: goldenTime.Add(time.Second), Packs: packs}
	if err := b.Finish(head, []segment.Point{{Event: segment.Committed, Path: pointName, Record: point}}); err != nil {
		g.t.Fatal(err)
	}
}

func (g *goldens) damage(p pack.ID, id ID) {
	name := damagedDir + "/" + p.String() + "/00000001-0e0e0e0e"
	note := DamageNote{Pack: p, Ordinal: 1, ID: id, Kind: content.Block, Time: goldenTime.Add(time.Hour),
		What: "its content is of another ID", Cleared: true}
	b, err := encodeDamage(g.keys, name, &note)
	if err != nil {
		g.t.Fatal(err)
	}
	g.files[name] = b
	if back, err := decodeDamage(g.keys, name, b); err != nil || *back != note {
		g.t.Errorf("damage note reads back as %+v, %v", back, err)
	}
}
