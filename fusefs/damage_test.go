package fusefs

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
)

func TestADamagedBlockIsAnErrorLoggedOnceAndTheRestReads(t *testing.T) {
	v := newFakeVault()
	d := holey(16<<20, 1)
	p := v.add("web", day, d)
	bad := int64(5 * block * 10)
	d.bad.Store(bad)
	log := &lines{}
	m, _ := mount(t, v, Options{Log: slog.New(slog.NewTextHandler(log, nil))})
	file := filepath.Join(m, "web/latest/disks/vda.raw")
	for range 2 {
		got, err := os.ReadFile(file)
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("reading all says %v", err)
		}
		if int64(len(got)) > bad || !bytes.Equal(got, d.data[:len(got)]) {
			t.Fatalf("%d bytes came before the error at %d, or others than stored", len(got), bad)
		}
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for off := int64(0); off < d.Size(); off += block {
		buf := make([]byte, block)
		_, err := f.ReadAt(buf, off)
		switch {
		case off == bad && !errors.Is(err, syscall.EIO):
			t.Errorf("the damaged block reads with %v", err)
		case off != bad && (err != nil || !bytes.Equal(buf, d.data[off:off+block])):
			t.Errorf("the whole block at %d reads with %v", off, err)
		}
	}
	said := log.with("damaged data")
	if len(said) != 1 {
		t.Fatalf("logged %d times: %s", len(said), said)
	}
	for _, want := range []string{"machine=web", "point=" + string(p.ID), "disk=vda", "offset=3276800"} {
		if !strings.Contains(said[0], want) {
			t.Errorf("%q is not in %s", want, said[0])
		}
	}
}

func TestErrorsBecomeWhatReadersUnderstand(t *testing.T) {
	v := newFakeVault()
	lost := v.add("web", day, holey(1<<20, 1))
	short := v.add("web", day.Add(1e9), holey(1<<20, 1))
	delete(v.disks, string(lost.ID)+"vda")
	short.Disks[0].Size += block
	short.Config[0].Size++
	log := &lines{}
	m, _ := mount(t, v, Options{Log: slog.New(slog.NewTextHandler(log, nil))})
	for path, want := range map[string]error{
		point1 + "/disks/vda.raw":                  syscall.ESTALE,
		"2026-11-22T22-00-06Z/disks/vda.raw":       syscall.EIO,
		"2026-11-22T22-00-06Z/config/domain.xml":   syscall.EIO,
		point1 + "/disks/vdb.raw":                  syscall.ENOENT,
		point1 + "/disks/vda":                      syscall.ENOENT,
		"2026-11-22T22-00-07Z":                     syscall.ENOENT,
		"2026-11-22T22-00-06Z/config/../nothing":   syscall.ENOENT,
		"2026-11-22T22-00-06Z-p0000000000000002/x": syscall.ENOENT,
	} {
		if _, err := os.ReadFile(filepath.Join(m, "web") + "/" + path); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	if n := len(log.with("cannot be read")); n != 2 {
		t.Errorf("%d lines logged, want one for each of the two files", n)
	}
}

func TestPartsWithNamesThatNoFileCanHaveAreLeftOut(t *testing.T) {
	v := newFakeVault()
	p := v.add("web", day, holey(1<<20, 1))
	for _, name := range []string{"", ".", "..", "a/b", "../../etc/passwd", "a\x00b", strings.Repeat("x", 10000)} {
		p.Disks = append(p.Disks, blockstore.DiskInfo{Name: name, Size: 1})
		p.Config = append(p.Config, blockstore.ConfigBlob{Name: name})
		v.bare(name, day)
	}
	v.bare("latest", day)
	log := &lines{}
	m, _ := mount(t, v, Options{Log: slog.New(slog.NewTextHandler(log, nil))})
	if got := sh(t, m, `cd $M; ls; ls web/latest/disks web/latest/config`); got != "web\nweb/latest/config:\ndomain.xml\n\nweb/latest/disks:\nvda.raw\n" {
		t.Errorf("shown: %s", got)
	}
	if n := len(log.with("not shown")); n != 8+14 {
		t.Errorf("%d lines logged, want one for each", n)
	}
}
