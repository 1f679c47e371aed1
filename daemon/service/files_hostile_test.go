package service_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// hostile is a file system whose reader panics or never ends, where its names say so.
type hostile struct {
	*treetest.FS
	until chan struct{}
	hangs func() // called before it hangs
}

// bad does what the name of an inode says.
func (h *hostile) bad(ino uint64) {
	for _, e := range h.Nodes[2].Entries {
		if e.Ino == ino && strings.HasPrefix(e.Name, "panic") {
			panic("as its name says")
		}
		if e.Ino == ino && strings.HasPrefix(e.Name, "hang") {
			h.hangs()
			<-h.until
		}
	}
}

func (h *hostile) ReadDir(dir uint64) iter.Seq2[tree.Entry, error] {
	h.bad(dir)
	return h.FS.ReadDir(dir)
}

func (h *hostile) Open(ino uint64) (tree.File, error) {
	f, err := h.FS.Open(ino)
	return &hostileFile{f, h, ino}, err
}

type hostileFile struct {
	tree.File
	h   *hostile
	ino uint64
}

func (f *hostileFile) ReadAt(p []byte, off int64) (int, error) {
	f.h.bad(f.ino)
	return f.File.ReadAt(p, off)
}

// hostileGuest is a service over a vault with a point of such a file system.
func hostileGuest(t *testing.T, hangs func()) (s *service.Service, at api.GuestAt, f *treetest.FS, release func()) {
	t.Helper()
	y := newYard(t)
	set, f := &treetest.Set{}, treetest.New("ext4")
	if err := os.WriteFile(filepath.Join(y.dir, "vda"), set.Image(f, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	p := y.backupOf("web1", "vda")
	s, _, _ = y.opened()
	format, until := set.Format(), make(chan struct{})
	open := format.Open
	format.Open = func(r io.ReaderAt, size int64, o tree.Options) (tree.FileSystem, error) {
		_, err := open(r, size, o)
		return &hostile{f, until, hangs}, err
	}
	s.UseFormats(format)
	release = sync.OnceFunc(func() { close(until) })
	t.Cleanup(release)
	return s, api.GuestAt{PointRef: api.PointRef{Machine: "web1", Point: p.ID}, Volume: "vda"}, f, release
}

func TestAReaderThatPanicsOrNeverEndsCostsOneRequest(t *testing.T) {
	t.Parallel()
	var reached atomic.Pointer[context.CancelFunc]
	s, vda, f, release := hostileGuest(t, func() {
		if cancel := reached.Load(); cancel != nil {
			(*cancel)()
		}
	})
	f.File("good", "content")
	f.File("panic-file", "x")
	f.File("hang-file", "x")
	f.At("panic-folder")
	f.At("hang-folder")
	for _, name := range []string{"panic-folder", "panic-file", "hang-folder", "hang-file"} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		reached.Store(&cancel)
		var err error
		if strings.HasSuffix(name, "file") {
			_, _, err = content(ctx, s, at(vda, "vda:/"+name), "")
		} else {
			_, err = s.GuestFolder(ctx, at(vda, "vda:/"+name), api.FolderPage{})
		}
		if err == nil || strings.HasPrefix(name, "hang") != errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "as its name") {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := archive(ctx, s, at(vda, "vda:/"+name), api.Tar); err == nil {
			t.Errorf("an archive of %s is whole", name)
		}
		cancel()
		if b, _, err := content(t.Context(), s, at(vda, "vda:/good"), ""); err != nil || string(b) != "content" {
			t.Errorf("after %s: %q, %v", name, b, err)
		}
	}
	if _, _, users := s.OpenGuests(); users == 0 {
		t.Error("nobody waits for what hangs, but it is not counted either")
	}
	release()
	settled(t, s)
}

func TestWhatAHostileFolderSaysIsListedOnceAndHarmsNothing(t *testing.T) {
	t.Parallel()
	s, vda, f, _ := hostileGuest(t, func() {})
	for range 3 {
		f.Nodes[2].Entries = append(f.Nodes[2].Entries, tree.Entry{Name: "twin", Ino: 77}, tree.Entry{Name: "\xff\xfe\n", Ino: 78})
	}
	f.File("late", "x").Mtime = time.Date(1<<20, 1, 1, 0, 0, 0, 0, time.UTC)
	f.File("broken", "x").Err = &tree.CorruptError{What: "inode 9", Why: "as the test wants it", At: -1}
	var got []api.GuestFile
	for page := (api.FolderPage{Limit: 1}); ; {
		l, err := s.GuestFolder(t.Context(), vda, page)
		if err != nil || len(got) > 10 {
			t.Fatal(err, got)
		}
		got = append(got, l.Entries...)
		if page.After = l.Next; page.After == "" {
			break
		}
	}
	if strings.Join(names(got), " ") != "broken late twin twin twin �\n �\n �\n" || !got[0].Damaged || got[1].Modified != nil || got[2].Error == "" || got[5].PathEscaped != "/%FF%FE%0A" {
		t.Errorf("%+v", got)
	}
	f.Nodes[2].Err = &tree.CorruptError{What: "the root", Why: "as the test wants it", At: -1}
	if _, err := s.GuestFolder(t.Context(), vda, api.FolderPage{}); service.Explain(err).Kind != "guest-damaged" {
		t.Errorf("a damaged folder: %v", err)
	}
}

func TestEncryptedVolumesAreOpenForWhoGaveThePassphrase(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "cryptsetup", "mke2fs")
	y := newYard(t)
	y.put(map[string]string{"root/secret": "the secret\n", "pass": "correct horse", "key": "\x00\x01key"})
	y.shell(`mke2fs -q -t ext4 -d root plain 8M; truncate -s +32M plain; cp plain vda; cp plain vdb
		for d in "vda pass" "vdb key"; do set -- $d
		cryptsetup reencrypt --encrypt --type luks2 --batch-mode --disable-locks --force-offline-reencrypt --reduce-device-size 32M --key-file $2 --pbkdf-force-iterations 4 --pbkdf-memory 64 --pbkdf-parallel 1 $1; done`)
	p := y.backupOf("web1", "vda", "vdb")
	s, _, _ := y.opened()
	web1 := api.GuestAt{PointRef: api.PointRef{Machine: "web1", Point: p.ID}}
	ann := api.WithCaller(t.Context(), api.Caller{Name: "ann"})
	bob := api.WithCaller(t.Context(), api.Caller{Name: "bob"})
	if _, err := s.GuestFolder(ann, at(web1, "vda:/"), api.FolderPage{}); service.Explain(err) == nil || service.Explain(err).Kind != "volume-locked" {
		t.Errorf("a locked volume: %v", err)
	}
	if _, err := s.UnlockGuest(ann, web1, api.GuestKeys{Passphrases: []string{"wrong"}}); service.Explain(err) == nil || service.Explain(err).Exit != 8 || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong passphrase: %v", err)
	}
	for _, keys := range []api.GuestKeys{{}, {KeyFiles: []string{"no base64!"}}} {
		if _, err := s.UnlockGuest(ann, web1, keys); service.Explain(err).Exit != 2 {
			t.Errorf("no keys: %v", err)
		}
	}
	v, err := s.UnlockGuest(ann, web1, api.GuestKeys{Passphrases: []string{"nothing", "correct horse"}})
	if err != nil {
		t.Fatal(err)
	}
	inside := ""
	for _, a := range v.Volumes {
		if a.Readable {
			inside = a.Name
		}
	}
	secret := at(web1, inside+":/secret")
	if b, _, err := content(ann, s, secret, ""); err != nil || string(b) != "the secret\n" {
		t.Errorf("ann reads %q, %v, in %+v", b, err, v)
	}
	if b, _, err := content(bob, s, secret, ""); err == nil {
		t.Errorf("bob reads %q", b)
	}
	asked := api.HistoryQuery{Machine: "web1", Volume: inside, Path: "/secret"}
	if h, err := s.GuestHistory(ann, asked, nil); err != nil || len(h.Versions) != 1 || h.Versions[0].State != "file" || h.Versions[0].SHA256 == "" {
		t.Errorf("its history for ann: %+v, %v", h, err)
	}
	both := api.DiffQuery{A: at(web1, inside+":/"), B: at(web1, inside+":/")}
	if _, err := s.GuestDiff(ann, both, func(api.FileDiff) error { return nil }, nil); err != nil {
		t.Errorf("ann compares: %v", err)
	}
	if h, err := s.GuestHistory(bob, asked, nil); err == nil && h.Versions[0].State != "unreadable" {
		t.Errorf("its history for bob: %+v", h)
	}
	if _, err := s.GuestDiff(bob, both, func(api.FileDiff) error { return nil }, nil); err == nil {
		t.Error("bob compares what is locked")
	}
	if v, err = s.UnlockGuest(ann, web1, api.GuestKeys{KeyFiles: []string{"AAFrZXk="}}); err != nil {
		t.Fatal(err)
	}
	open := 0
	for _, a := range v.Volumes {
		if a.Readable {
			open++
		}
	}
	if open != 2 {
		t.Errorf("with both keys %d volumes are open: %+v", open, v)
	}
	settled(t, s)
	s.PassTime(9 * time.Minute)
	if _, _, err := content(ann, s, secret, ""); err != nil {
		t.Error(err)
	}
	settled(t, s)
	s.PassTime(10 * time.Minute)
	if _, _, err := content(ann, s, secret, ""); service.Explain(err) == nil || service.Explain(err).Kind != "volume-locked" {
		t.Errorf("after ten minutes without use: %v", err)
	}
	if _, err = s.UnlockGuest(ann, web1, api.GuestKeys{Passphrases: []string{"correct horse"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.LockGuest(bob, web1); err != nil {
		t.Error(err)
	}
	if _, _, err := content(ann, s, secret, ""); err != nil {
		t.Error(err)
	}
	if err := s.LockGuest(ann, web1); err != nil {
		t.Error(err)
	}
	if b, _, err := content(ann, s, secret, ""); err == nil {
		t.Errorf("ann reads %q of what is locked again", b)
	}
}
