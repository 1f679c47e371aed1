package backup

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/quiesce"
	"github.com/holdfast-backup/holdfast/quiesce/qemu"
	"github.com/holdfast-backup/holdfast/quiesce/qmp"
)

func TestStateIsTakenFromFilesAloneAndFromNowhereElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	folder := filepath.Join(dir, "tpm2")
	if err := os.MkdirAll(filepath.Join(folder, "more"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"tpm2/tpm2-00.permall": "state", "tpm2/.lock": "", "tpm2/more/x": "more", "secret": "secret"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("../secret", filepath.Join(folder, "link")), syscall.Mkfifo(filepath.Join(folder, "pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	b, err := packState(folder, int64(os.Getuid()))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(r)
		found[h.Name] = string(text)
	}
	if len(found) != 2 || found["tpm2-00.permall"] != "state" || found["more/x"] != "more" {
		t.Errorf("found %v", found)
	}
	if b, err := packState(folder, int64(os.Getuid())+1); err != nil || bytes.Contains(b, []byte("state")) {
		t.Errorf("files of another owner were taken: %v", err)
	}
	for _, path := range []string{filepath.Join(folder, "link"), filepath.Join(folder, "pipe"), folder, "/dev/zero", filepath.Join(dir, "none")} {
		if b, err := readState(path); err == nil {
			t.Errorf("%s was read: %d bytes", path, len(b))
		}
	}
	if b, err := readState(filepath.Join(folder, "tpm2-00.permall")); err != nil || string(b) != "state" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestACommandLineIsKeptWithoutItsSecrets(t *testing.T) {
	t.Parallel()
	args := []string{"qemu", "-object", "secret,id=s,data=topsecret", "-object", `{"qom-type":"secret","id":"m","data":"topsecret","format":"raw"}`,
		"-vnc", ":1,password=topsecret", "-drive", "file=/vms/data=x.raw,id=d", "-name", "password"}
	got := strings.Join(withoutSecrets(args), "\n")
	if strings.Contains(got, "topsecret") || !strings.Contains(got, "id=s,data=REMOVED") || !strings.Contains(got, `"format":"raw"`) || !strings.Contains(got, "file=/vms/data=x.raw") {
		t.Errorf("kept is\n%s", got)
	}
	if !slices.Contains(args, "secret,id=s,data=topsecret") {
		t.Error("the arguments themselves were changed")
	}
	if lines := oneLined([]string{"a\nb", "c"}); lines[0] != "a b" {
		t.Errorf("%q", lines)
	}
}

func TestOnlyWhatMayPassIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, err := range []error{qmp.ErrBusy, qmp.ErrGone, qemu.ErrGone, syscall.ECONNRESET, io.ErrUnexpectedEOF} {
		if !transient(fmt.Errorf("read: %w", err)) {
			t.Errorf("%v is not tried again", err)
		}
		if transient(errors.Join(err, &quiesce.StillFrozenError{Err: err})) {
			t.Errorf("%v is tried again although the guest may be frozen", err)
		}
	}
	for _, err := range []error{qemu.ErrForeignServer, qemu.ErrBusy, qemu.ErrScratch, errors.New("x"), &quiesce.NotReachedError{}} {
		if transient(err) {
			t.Errorf("%v is tried again", err)
		}
	}
}
