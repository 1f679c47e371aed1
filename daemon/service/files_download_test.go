package service_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// openVault is a vault that stays open between two questions, as in a daemon.
type openVault struct {
	*service.OneVault
	v    *blockstore.Vault
	ends context.Context // of what lasts
}

func (o *openVault) Read(_ context.Context, _ string, do func(*blockstore.Vault) error) error {
	return do(o.v)
}

func (o *openVault) Lasting(ctx context.Context, _ string, do func(context.Context, *blockstore.Vault) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(o.ends, func() { cancel(context.Cause(o.ends)) })()
	return do(ctx, o.v)
}

// opened is a service over the yard's vault, which it holds open, and what ends all that lasts.
func (y *yard) opened() (*service.Service, *blockstore.Vault, context.CancelCauseFunc) {
	y.t.Helper()
	v, err := blockstore.Open(y.t.Context(), y.vault, blockstore.Options{})
	if err != nil {
		y.t.Fatal(err)
	}
	y.t.Cleanup(func() { v.Close() })
	ends, end := context.WithCancelCause(context.Background())
	return service.New(service.Options{Vaults: &openVault{v: v, ends: ends}, Log: slog.New(slog.DiscardHandler)}), v, end
}

// content reads a file of a guest wholly.
func content(ctx context.Context, s *service.Service, at api.GuestAt, stream string) (b []byte, c api.GuestContent, err error) {
	err = s.GuestContent(ctx, at, stream, func(_ context.Context, open api.GuestContent) error {
		c = open
		b, err = io.ReadAll(io.NewSectionReader(open, 0, open.Size))
		return err
	})
	return b, c, err
}

// archive reads an archive wholly.
func archive(ctx context.Context, s *service.Service, at api.GuestAt, format string) (b []byte, failed int64, err error) {
	err = s.GuestArchive(ctx, at, format, func(_ context.Context, a api.GuestArchive) error {
		b, err = io.ReadAll(a)
		failed = a.Failed()
		return err
	})
	return b, failed, err
}

func TestAGuestsFilesAreDownloadedAsTheyAre(t *testing.T) {
	t.Parallel()
	y, web1 := linuxGuest(t)
	s, _, _ := y.opened()
	big := strings.Repeat("0123456789abcdef", 40_000)
	tags := map[string]string{}
	for path, want := range map[string]string{"/etc/passwd": "root:x:0\n", "/home/ann/log/syslog": "line 1\n", "/home/ann/caf\xe9": "latin", "/home/ann/big": big, "/home/ann/up": "root:x:0\n"} {
		b, c, err := content(t.Context(), s, at(web1, path), "")
		if err != nil || string(b) != want || c.Point != web1.Point || tags[c.Tag] != "" && tags[c.Tag] != want {
			t.Errorf("%s: %d bytes, %+v, %v", path, len(b), c, err)
		}
		tags[c.Tag] = want
	}
	if len(tags) != 4 {
		t.Errorf("the tags of four files are %d", len(tags))
	}
	for path, exit := range map[string]int{"/etc": 2, "/nothing": 6, "/gone/x": 6, "/home/ann/self": 6} {
		if _, _, err := content(t.Context(), s, at(web1, path), ""); err == nil || service.Explain(err).Exit != exit {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, _, err := content(t.Context(), s, at(web1, "/etc/passwd"), "stream"); err == nil || service.Explain(err).Exit != 6 {
		t.Errorf("a stream where there are none: %v", err)
	}
	b, failed, err := archive(t.Context(), s, at(web1, "/home"), api.Tar)
	if err != nil || failed != 0 {
		t.Fatal(err, failed)
	}
	var got []string
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h.Name)
	}
	slices.Sort(got)
	if want := "home/ home/ann/ home/ann/big home/ann/caf\xe9 home/ann/log home/ann/self home/ann/up"; strings.Join(got, " ") != want {
		t.Errorf("the archive holds %q", got)
	}
	b, failed, err = archive(t.Context(), s, at(web1, ""), api.Zip)
	z, zerr := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil || zerr != nil || failed != 1 { // /gone is on a disk that no point holds
		t.Fatal(err, zerr, failed)
	}
	last, err := fs.ReadFile(z, "HOLDFAST-PROBLEMS-"+web1.Point+".txt")
	if err != nil || !strings.Contains(string(last), "/gone: ") || !strings.Contains(string(last), "not in this point") {
		t.Errorf("it ends with %q, %v", last, err)
	}
	if b, err := fs.ReadFile(z, "var/log/syslog"); err != nil || string(b) != "line 1\n" {
		t.Errorf("%q, %v", b, err)
	}
	settled(t, s)
	if g, _, _ := s.OpenGuests(); g != 1 {
		t.Errorf("%d guests are open", g)
	}
}

func TestGuestsAreLetGoWhenNobodyAsksAndWhenTheirVaultIsClosed(t *testing.T) {
	t.Parallel()
	y, web1 := linuxGuest(t)
	s, v, _ := y.opened()
	for range 3 {
		if _, err := s.GuestFolder(t.Context(), at(web1, "/var"), api.FolderPage{}); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, s)
	if g, volumes, _ := s.OpenGuests(); g != 1 || volumes != 2 {
		t.Errorf("%d guests, %d volumes", g, volumes)
	}
	s.PassTime(59 * time.Second)
	if g, _, _ := s.OpenGuests(); g != 1 {
		t.Error("it was let go too early")
	}
	s.PassTime(time.Minute)
	if g, volumes, _ := s.OpenGuests(); g != 0 || volumes != 0 {
		t.Errorf("a minute later %d guests are open, %d volumes", g, volumes)
	}
	if _, err := s.GuestFile(t.Context(), at(web1, "/etc")); err != nil {
		t.Fatal(err)
	}
	settled(t, s)
	v.Close()
	if g, volumes, _ := s.OpenGuests(); g != 0 || volumes != 0 {
		t.Errorf("%d guests of a closed vault are open, %d volumes", g, volumes)
	}
	if _, err := y.GuestFile(t.Context(), at(web1, "/etc")); err != nil { // a vault that is opened for one question
		t.Error(err)
	}
	settled(t, y.Service)
	if g, volumes, _ := y.OpenGuests(); g != 0 || volumes != 0 {
		t.Errorf("%d guests, %d volumes", g, volumes)
	}
}

func TestOnlySoManyGuestsAndVolumesStayOpen(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "mke2fs")
	y := newYard(t)
	y.shell("mke2fs -q -t ext2 vda 1M; for i in b c d e f g; do cp vda vd$i; done")
	y.backupOf("many", "vda", "vdb", "vdc", "vdd", "vde", "vdf", "vdg")
	s, _, _ := y.opened()
	many := api.GuestAt{PointRef: api.PointRef{Machine: "many", Point: "latest"}}
	for range 2 {
		for _, disk := range "abcdefg" {
			if _, err := s.GuestFolder(t.Context(), at(many, "vd"+string(disk)+":/"), api.FolderPage{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	settled(t, s)
	if g, volumes, _ := s.OpenGuests(); g != 1 || volumes != 4 {
		t.Errorf("%d guests, %d volumes are open", g, volumes)
	}
	for range 10 {
		if err := os.WriteFile(filepath.Join(y.dir, "vdg"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		y.shell("truncate -s 1M vdg")
		p := y.backupOf("one", "vdg")
		if _, err := s.GuestVolumes(t.Context(), api.GuestAt{PointRef: api.PointRef{Machine: "one", Point: p.ID}}); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, s)
	if g, _, _ := s.OpenGuests(); g != 8 {
		t.Errorf("%d guests are open", g)
	}
}

func TestAnArchiveEndsWhenItsReaderGoesOrItsVaultIsNeeded(t *testing.T) {
	t.Parallel()
	y, web1 := linuxGuest(t)
	needed := errors.New("the vault is needed")
	s, _, end := y.opened()
	gone := errors.New("the client is gone")
	err := s.GuestArchive(t.Context(), at(web1, "/"), api.Tar, func(_ context.Context, a api.GuestArchive) error {
		if _, err := io.ReadFull(a, make([]byte, 600)); err != nil {
			t.Error(err)
		}
		return gone
	})
	if err != gone {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	err = s.GuestArchive(ctx, at(web1, "/"), api.Tar, func(_ context.Context, a api.GuestArchive) error {
		cancel(gone)
		_, err := io.Copy(io.Discard, a)
		return err
	})
	if !errors.Is(err, gone) {
		t.Errorf("what began has ended with %v", err)
	}
	err = s.GuestContent(t.Context(), at(web1, "/home/ann/big"), "", func(_ context.Context, c api.GuestContent) error {
		end(needed)
		_, err := c.ReadAt(make([]byte, 10), 0)
		for ; err == nil; _, err = c.ReadAt(make([]byte, 10), 0) {
			time.Sleep(time.Millisecond)
		}
		return err
	})
	if !errors.Is(err, needed) {
		t.Errorf("a download went on: %v", err)
	}
	err = s.GuestArchive(t.Context(), at(web1, "/"), api.Tar, func(_ context.Context, a api.GuestArchive) error {
		_, err := io.Copy(io.Discard, a)
		return err
	})
	if !errors.Is(err, needed) {
		t.Errorf("an archive went on: %v", err)
	}
	settled(t, s)
}

// settled waits until nobody is at work.
func settled(t *testing.T, s *service.Service) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, _, users := s.OpenGuests(); users == 0 {
			return
		} else if time.Now().After(end) {
			t.Fatalf("%d are at work still", users)
		}
	}
}

func TestDamageInTheVaultIsToldAndNeverSent(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "mke2fs")
	y := newYard(t)
	noise := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{9}).Read(noise)
	y.put(map[string]string{"root/noise": string(noise), "root/etc/passwd": "root\n", "root/small": "whole\n"})
	y.shell("mke2fs -q -t ext4 -d root vda 16M")
	p := y.backupOf("web1", "vda")
	packs, _ := filepath.Glob(filepath.Join(y.vault, "packs", "*", "*"))
	more, _ := filepath.Glob(filepath.Join(y.vault, "packs", "*", "*", "*"))
	damaged := false
	for _, name := range append(packs, more...) {
		b, err := os.ReadFile(name)
		i := bytes.Index(b, noise[5<<20:5<<20+64])
		if err != nil || i < 0 {
			continue
		}
		b[i] ^= 1
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		damaged = true
	}
	if !damaged {
		t.Fatal("the content was not found in the vault")
	}
	s, _, _ := y.opened()
	web1 := api.GuestAt{PointRef: api.PointRef{Machine: "web1", Point: p.ID}}
	b, _, err := content(t.Context(), s, at(web1, "/noise"), "")
	var corrupt *blockstore.CorruptError
	if !errors.As(err, &corrupt) || len(b) > 5<<20 || !bytes.HasPrefix(noise, b) {
		t.Errorf("%d bytes came, and then %v", len(b), err)
	}
	if b, _, err := content(t.Context(), s, at(web1, "/small"), ""); err != nil || string(b) != "whole\n" {
		t.Errorf("another file: %q, %v", b, err)
	}
	b, failed, err := archive(t.Context(), s, at(web1, "vda:/"), api.Zip)
	z, zerr := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil || zerr != nil || failed != 1 {
		t.Fatal(err, zerr, failed)
	}
	last, err := fs.ReadFile(z, "HOLDFAST-PROBLEMS-"+p.ID+".txt")
	if err != nil || !strings.Contains(string(last), "/noise: zeros stand for") {
		t.Errorf("it ends with %q, %v", last, err)
	}
	if b, err := fs.ReadFile(z, "small"); err != nil || string(b) != "whole\n" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestStreamsOfNTFSAreDownloadedByTheirNames(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "mkntfs", "ntfscp")
	y := newYard(t)
	y.put(map[string]string{"report.docx": "the report", "mark": "[ZoneTransfer]\nZoneId=3\n"})
	y.shell("truncate -s 8M sda; mkntfs -F -Q -q -L Data sda; ntfscp -q sda report.docx report.docx; ntfscp -q -N Zone.Identifier sda mark report.docx")
	p := y.backupOf("win1", "sda")
	s, _, _ := y.opened()
	win1 := api.GuestAt{PointRef: api.PointRef{Machine: "win1", Point: p.ID}, Volume: "sda", Path: `\REPORT.docx`}
	f, err := s.GuestFile(t.Context(), win1)
	if err != nil || f.Size != 10 || len(f.Streams) != 1 || f.Streams[0] != (api.GuestStream{Name: "Zone.Identifier", Size: 24}) {
		t.Errorf("%+v, %v", f, err)
	}
	b, c, err := content(t.Context(), s, win1, "Zone.Identifier")
	if err != nil || string(b) != "[ZoneTransfer]\nZoneId=3\n" || c.Size != 24 {
		t.Errorf("%q, %+v, %v", b, c, err)
	}
	own, main, err := content(t.Context(), s, win1, "")
	if err != nil || string(own) != "the report" || main.Tag == c.Tag {
		t.Errorf("%q, %+v, %v", own, main, err)
	}
	if _, _, err := content(t.Context(), s, win1, "other"); err == nil || service.Explain(err).Exit != 6 {
		t.Errorf("another stream: %v", err)
	}
}

func TestAClientThatTakesNothingKeepsNobodyFromTheVault(t *testing.T) {
	t.Parallel()
	y, web1 := linuxGuest(t)
	s, _, end := y.opened()
	stuck, over := make(chan struct{}), make(chan error, 2)
	go func() {
		over <- s.GuestContent(t.Context(), at(web1, "/home/ann/big"), "", func(_ context.Context, c api.GuestContent) error {
			<-stuck
			_, err := c.ReadAt(make([]byte, 1), 0)
			return err
		})
	}()
	go func() {
		over <- s.GuestArchive(t.Context(), at(web1, "/"), api.Tar, func(context.Context, api.GuestArchive) error {
			<-stuck
			return errors.New("the client is gone")
		})
	}()
	for users := 0; users < 2; time.Sleep(time.Millisecond) {
		_, _, users = s.OpenGuests()
	}
	end(errors.New("the vault is needed"))
	settled(t, s)
	close(stuck)
	for range 2 {
		if err := <-over; err == nil {
			t.Error("it was served")
		}
	}
}
