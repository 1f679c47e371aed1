package blockstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

var recordKeys = content.Derive(content.Secret{1, 2, 3})

// sign makes a record of any first line and body.
func sign(path, first, body string) []byte {
	mac := recordKeys.MAC(path, []byte(first), []byte(body))
	return fmt.Appendf(nil, "%smac %x\n%s", first, mac, body)
}

func TestARecordIsRefusedWhenAnyBitOfItChangedOrItLiesElsewhere(t *testing.T) {
	good, err := encodeRecord(recordKeys, false, machineKind, "machines/m/1", Machine{ID: "1111111111111111", Name: "web1", Generation: 3})
	if err != nil {
		t.Fatal(err)
	}
	var m Machine
	if err := decodeRecord(recordKeys, machineKind, "machines/m/1", good, &m); err != nil || m.Name != "web1" {
		t.Fatalf("%+v, %v", m, err)
	}
	if err := decodeRecord(recordKeys, machineKind, "machines/m/2", good, &m); !errors.Is(err, errRecord) {
		t.Errorf("elsewhere: %v", err)
	}
	if err := decodeRecord(content.Derive(content.Secret{}), machineKind, "machines/m/1", good, &m); !errors.Is(err, errRecord) {
		t.Errorf("with other keys: %v", err)
	}
	for at := range good {
		for bit := range 8 {
			b := bytes.Clone(good)
			b[at] ^= 1 << bit
			if err := decodeRecord(recordKeys, machineKind, "machines/m/1", b, &m); err == nil {
				t.Errorf("byte %d, bit %d: unnoticed", at, bit)
			}
		}
	}
	for n := range good {
		if err := decodeRecord(recordKeys, machineKind, "machines/m/1", good[:n], &m); err == nil {
			t.Errorf("%d bytes of it: taken", n)
		}
	}
}

func TestRecordsOfLaterVersionsAreRefusedByName(t *testing.T) {
	for name, c := range map[string]struct {
		first string
		err   error
		says  string
	}{
		"version":      {"holdfast machine 2 plain\n", ErrVersion, `version "2"`},
		"no number":    {"holdfast machine one plain\n", ErrVersion, `version "one"`},
		"seal":         {"holdfast machine 1 aes256gcm\n", ErrVersion, `"aes256gcm"`},
		"kind":         {"holdfast widget 1 plain\n", errRecord, `"widget" where a machine belongs`},
		"another kind": {"holdfast point 1 plain\n", errRecord, `"point" where a machine belongs`},
		"no holdfast":  {"something else entirely here\n", errRecord, "begin"},
		"too few":      {"holdfast machine 1\n", errRecord, "begin"},
	} {
		var m Machine
		err := decodeRecord(recordKeys, machineKind, "p", sign("p", c.first, "{}\n"), &m)
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var m Machine
	for _, body := range []string{"", "{", "[]", `{"id":5}`, "{} {}"} {
		if err := decodeRecord(recordKeys, machineKind, "p", sign("p", "holdfast machine 1 plain\n", body), &m); !errors.Is(err, errRecord) {
			t.Errorf("body %q: %v", body, err)
		}
	}
	if err := decodeRecord(recordKeys, machineKind, "p", sign("p", "holdfast machine 1 plain\n", `{"name":"a","later":[1]}`), &m); err != nil {
		t.Errorf("a field of later: %v", err)
	}
}

func TestARecordThatCouldNotBeReadBackIsNotWritten(t *testing.T) {
	_, err := encodeRecord(recordKeys, false, attributeKind, "p", Attribute{Text: strings.Repeat("x", maxRecord)})
	if err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("%v", err)
	}
}

func somePoint() *Point {
	return &Point{ID: "p0123456789abcdef", Machine: "1111111111111111", MachineName: "web1", Seq: 1,
		Disks:  []DiskInfo{{Name: "vda", Size: 1 << 40}, {Name: "vdb"}},
		Config: []ConfigBlob{{Name: "domain.xml", Size: maxBlob + 1, Parts: make([]ID, 2)}, {Name: "empty", Parts: []ID{}}}}
}

func TestAPointThatCouldLeadElsewhereIsRefused(t *testing.T) {
	if err := somePoint().check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Point){
		"id without p":      func(p *Point) { p.ID = "0123456789abcdef" },
		"id with a path":    func(p *Point) { p.ID = "../../etc/passwd" },
		"id in capitals":    func(p *Point) { p.ID = "p0123456789ABCDEF" },
		"machine id":        func(p *Point) { p.Machine = "../x" },
		"no machine":        func(p *Point) { p.Machine = "" },
		"machine name":      func(p *Point) { p.MachineName = "a/b" },
		"machine is latest": func(p *Point) { p.MachineName = "latest" },
		"disk name":         func(p *Point) { p.Disks[0].Name = ".." },
		"disk name twice":   func(p *Point) { p.Disks[1].Name = "vda" },
		"negative size":     func(p *Point) { p.Disks[0].Size = -1 },
		"size of all":       func(p *Point) { p.Disks[0].Size = 1<<63 - 1 },
		"config name":       func(p *Point) { p.Config[0].Name = "a\n" },
		"config twice":      func(p *Point) { p.Config[1].Name = "domain.xml" },
		"config too large":  func(p *Point) { p.Config[0].Size, p.Config[0].Parts = MaxConfig+1, make([]ID, 257) },
		"config negative":   func(p *Point) { p.Config[1].Size = -1 },
		"parts too few":     func(p *Point) { p.Config[0].Parts = p.Config[0].Parts[:1] },
		"parts too many":    func(p *Point) { p.Config[1].Parts = make([]ID, 100) },
	} {
		p := somePoint()
		change(p)
		if err := p.check(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestADamageNoteIsAboutTheRecordThatItsPathNames(t *testing.T) {
	var p pack.ID
	p[0] = 7
	at := damagePath(p, 12)
	note := &DamageNote{Pack: p, Ordinal: 12, ID: ID{1}, Kind: content.Page, Time: time.Unix(1793000000, 0).UTC(), What: "w"}
	b, err := encodeDamage(recordKeys, at, note)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := decodeDamage(recordKeys, at, b); err != nil || *back != *note {
		t.Errorf("reads back as %+v, %v", back, err)
	}
	for name, change := range map[string]func(*DamageNote){
		"another pack":   func(n *DamageNote) { n.Pack[1] = 1 },
		"another record": func(n *DamageNote) { n.Ordinal = 13 },
		"the zero ID":    func(n *DamageNote) { n.ID = ID{} },
	} {
		n := *note
		change(&n)
		if _, err := encodeDamage(recordKeys, at, &n); err == nil {
			t.Errorf("%s: encoded", name)
		}
		forged, err := encodeRecord(recordKeys, false, damageKind, at, n)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeDamage(recordKeys, at, forged); !errors.Is(err, errRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
	forged := sign(at, "holdfast damage 1 plain\n", `{"pack":"`+p.String()+`","ordinal":12,"id":"`+ID{1}.String()+`","kind":"widget"}`)
	if _, err := decodeDamage(recordKeys, at, forged); !errors.Is(err, errRecord) || !strings.Contains(err.Error(), "widget") {
		t.Errorf("unknown kind: %v", err)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	p := somePoint()
	good, err := encodeRecord(recordKeys, false, pointKind, "p", p)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("holdfast point 1 plain\nmac " + strings.Repeat("0", 64) + "\n{}\n"))
	f.Add([]byte("holdfast point 2 plain\nmac \n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Point
		if err := decodeRecord(recordKeys, pointKind, "p", b, &p); err == nil && !bytes.Equal(b, good) {
			t.Errorf("a forged record is taken: %q", b)
		}
		for _, kind := range []recordKind{vaultKind, damageKind} {
			head, body, _, err := splitRecord(b, kind)
			if err == nil && len(head)+len(body)+4+2*content.MACSize+1 != len(b) {
				t.Errorf("parts of %d and %d bytes of %d", len(head), len(body), len(b))
			}
		}
	})
}

// FuzzVault reads bodies of VAULT, which are authentic by the secret that they
// hold themselves.
func FuzzVault(f *testing.F) {
	b, err := json.Marshal(vaultRecord{ID: "0f0f0f0f0f0f0f0f", BlockSize: 16 << 10, Codec: "lz4"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"block_size":1,"codec":"zstd","secret":""}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var head vaultRecord
		json.Unmarshal(body, &head) // whatever comes of it
		first := firstLine(vaultKind, unsealed)
		mac := content.Derive(head.Secret).MAC("VAULT/1", first, body)
		v := &Vault{}
		if err := v.adopt("VAULT/1", fmt.Appendf(nil, "%smac %x\n%s", first, mac, body)); err != nil {
			return
		}
		if checkBlockSize(v.head.BlockSize) != nil || !hexID.MatchString(string(v.head.ID)) || v.head.Codec != "lz4" {
			t.Errorf("adopted %+v", v.head)
		}
	})
}

// FuzzPoint reads bodies as if they were authentic.
func FuzzPoint(f *testing.F) {
	for _, p := range []*Point{somePoint(), {}} {
		b, err := json.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"disks":[{"size":-9223372036854775808}],"config":[{"size":9223372036854775807}]}`))
	v := &Vault{keys: recordKeys}
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := v.decodePoint("p", sign("p", "holdfast point 1 plain\n", string(body)))
		if err != nil {
			return
		}
		again, err := encodeRecord(recordKeys, false, pointKind, "p", p)
		if err != nil {
			return // it grew beyond what may be written
		}
		back, err := v.decodePoint("p", again)
		if err != nil {
			t.Fatalf("does not read back: %v", err)
		}
		a, _ := json.Marshal(p)
		b, _ := json.Marshal(back)
		if !bytes.Equal(a, b) {
			t.Errorf("reads back as %s, was %s", b, a)
		}
	})
}

func FuzzDamageNote(f *testing.F) {
	var id pack.ID
	at := damagesPathForFuzz(id)
	b, err := json.Marshal(DamageNote{Pack: id, ID: ID{1}, Kind: content.Block})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := decodeDamage(recordKeys, at, sign(at, "holdfast damage 1 plain\n", string(body)))
		if err != nil {
			return
		}
		again, err := encodeDamage(recordKeys, at, n)
		if err != nil {
			t.Fatalf("does not encode: %v", err)
		}
		if back, err := decodeDamage(recordKeys, at, again); err != nil || *back != *n {
			t.Errorf("%+v reads back as %+v, %v", n, back, err)
		}
	})
}

// damagesPathForFuzz is the same in every process, as fuzzing needs it.
func damagesPathForFuzz(id pack.ID) string {
	return damagedDir + "/" + id.String() + "/00000000-00000000"
}

func TestAnAttributeOfALaterKindIsRefusedByNameAndHidesNoPoint(t *testing.T) {
	dir := newVault(t, 0)
	o := ownVault(t, dir, OwnOptions{})
	defer o.Close()
	p := backUp(t, o, "web1", map[string]Source{"vda": memory(make([]byte, 10))})
	later := Attribute{Kind: "held", Point: p.ID, Seq: 1, Time: time.Now().UTC()}
	if err := o.writeRecord(attributeKind, attrPath(p.Machine, p.ID, 1), later); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Attributes(p); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), `"held"`) {
		t.Errorf("attributes: %v", err)
	}
	points, err := o.Points(t.Context())
	if !errors.Is(err, ErrVersion) || len(points) != 1 {
		t.Errorf("%d points, %v", len(points), err)
	}
}
