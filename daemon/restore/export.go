package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce/nbd"
)

// otherClients is what nobody can find out about an export.
const otherClients = "use of an export by others cannot be seen from here"

// export is an NBD export, written in place.
type export struct {
	*nbd.Client
	name    string // URI
	touched bool   // something may have been written; set before workers start
	whole   bool   // everything was written and synced
	stop    func() bool
}

// openExport connects to an export that takes what is written. Calls on it fail
// once ctx has ended. One that holds something is refused unless forced.
func openExport(ctx context.Context, uri string, need int64, force bool) (_ *export, err error) {
	address, err := nbd.ParseURI(uri)
	if err != nil {
		return nil, err
	}
	c, err := nbd.DialAddress(ctx, address, nbd.Options{Contexts: []string{nbd.BaseAllocation}})
	if err != nil {
		return nil, err
	}
	e := &export{Client: c, name: address.String()}
	e.stop = context.AfterFunc(ctx, func() { c.Close() })
	switch {
	case c.Flags()&nbd.FlagReadOnly != 0:
		err = fmt.Errorf("export %s: %w: serve it for writing (qemu-nbd without -r)", e.name, nbd.ErrReadOnly)
	case c.Size() < need:
		err = fmt.Errorf("export %s is too small: it has %s, the disk %s", e.name, mib(c.Size()), mib(need))
	case !force:
		err = e.refuseContent()
	}
	if err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

// refuseContent looks at both ends of the export, where partition tables and
// superblocks lie.
func (e *export) refuseContent() error {
	buf := make([]byte, window)
	for _, off := range []int64{0, max(0, e.Size()-window)} {
		p := buf[:min(window, e.Size()-off)]
		if err := readFull(e, p, off); err != nil {
			return err
		}
		if !bytes.Equal(p, zeroes[:len(p)]) {
			return fmt.Errorf("export %s holds something: say --force to overwrite it", e.name)
		}
	}
	return nil
}

// Blank is false: an export holds what it held.
func (e *export) Blank() bool { return false }

// Zero leaves what is known to be zero as it is.
func (e *export) Zero(off, length int64) error {
	for end := off + length; off < end; {
		n, zero := e.Run(off, end-off)
		if !zero {
			if err := e.Client.Zero(off, n); err != nil {
				return err
			}
		}
		off += n
	}
	return nil
}

// Run is the client's.
func (e *export) Run(off, length int64) (n int64, zero bool) {
	return e.Client.Run(context.Background(), off, length)
}

// Hole asks the server, where it tells.
func (e *export) Hole(off, length int64) int64 {
	if n, zero := e.Run(off, length); zero {
		return n
	}
	return 0
}

// Sync has the server make durable what was written.
func (e *export) Sync() error { return e.Flush() }

// BeginVerify does nothing: only the server knows what it keeps in memory.
func (e *export) BeginVerify() error { return nil }

// Commit ends the connection.
func (e *export) Commit() error {
	e.whole = true
	return e.close()
}

// Abort ends the connection and says so if the export was left half-written.
func (e *export) Abort() error {
	if e.whole {
		return nil
	}
	e.close() // what it holds is of no use
	if e.touched {
		return fmt.Errorf("export %s is partly overwritten: it holds neither its old content nor the disk; restore to it again before using it", e.name)
	}
	return nil
}

func (e *export) close() error {
	e.stop()
	return e.Close()
}

// notes are what a person should know of a restore to the export.
func (e *export) notes(diskSize int64) []string {
	notes := []string{otherClients}
	if tail := e.Size() - diskSize; tail > 0 {
		notes = append(notes, fmt.Sprintf("the last %s of %s lie behind the disk's end and were left as they were; a backup partition table belongs at a disk's end", mib(tail), e.name))
	}
	if e.Flags()&nbd.FlagFlush == 0 {
		notes = append(notes, "the server offers no flush: when what was written is durable, only it knows")
	}
	return notes
}

var _ readBack = (*export)(nil)

// ended makes an error out of the end of ctx where one may be only its consequence:
// connections and processes end with it.
func ended(ctx context.Context, err error) error {
	var damage *blockstore.CorruptError
	if err != nil && ctx.Err() != nil && !errors.As(err, &damage) {
		return context.Cause(ctx)
	}
	return err
}
