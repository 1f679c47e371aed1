package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// recovery is a new recovery key, and where its sheet goes.
type recovery struct {
	secret, recipient string
	file              *os.File // nil: standard output
	written           bool
}

// newRecovery makes a recovery key. The file of its sheet must not be there yet.
func newRecovery(k *console, sheet string) (*recovery, error) {
	if err := k.guardMemory(); err != nil {
		return nil, err
	}
	r := &recovery{}
	var err error
	if r.secret, r.recipient, err = blockstore.NewIdentity(); err != nil {
		return nil, err
	}
	if sheet == "" {
		return r, nil
	}
	if r.file, err = os.OpenFile(sheet, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, fmt.Errorf("recovery sheet: %w", err)
	}
	return r, nil
}

func (r *recovery) seal() blockstore.SealWith {
	return blockstore.SealWith{Recipient: r.recipient, Note: "recovery key"}
}

// discard removes a sheet that was not written.
func (r *recovery) discard() {
	if r.file != nil && !r.written {
		r.file.Close()
		os.Remove(r.file.Name()) // it is empty
	}
}

const sheetText = `
HOLDFAST RECOVERY SHEET

  vault     %s
  id        %s
  created   %s
  made in   %s

  recovery key

  %s

Print this, and keep it where neither fire nor thief finds it together with the
vault: this key and the vault's folder are all that it takes to read every disk in
it. If the passphrase is lost, nothing else opens the vault, and nobody can help.

What to do with it, on any Linux host with holdfast
(https://github.com/holdfast-backup/holdfast), where FOLDER is the vault's:

  (umask 077; cat > recovery.key)      type the key, Enter, Ctrl-D
  holdfast points --vault FOLDER --identity recovery.key
  holdfast restore MACHINE@latest --to NEW-FOLDER/ --vault FOLDER --identity recovery.key

`

// write writes the sheet, and syncs it where it goes into a file.
func (r *recovery) write(k *console, v blockstore.VaultInfo) error {
	path := v.Path
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	if host, err := os.Hostname(); err == nil {
		path += " on " + host
	}
	text := printable(fmt.Sprintf(sheetText, v.Name, v.ID, k.moment(v.Created, false), path, r.secret))
	if r.file == nil {
		r.written = true
		_, err := io.WriteString(k.out, text)
		return err
	}
	_, err := r.file.WriteString(text)
	if err == nil {
		err = r.file.Sync()
	}
	if e := r.file.Close(); err == nil {
		err = e
	}
	if err == nil {
		r.written = true
		k.say("the recovery sheet is in %s: print it, and keep it away from the vault", r.file.Name())
	}
	return err
}
