package blockstore

import (
	"context"
	"io"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// eachRecord reads records of a pack, several at once where they lie side by
// side, and calls got with the place of each among entries and its bytes, which
// last until got returns, or with why it cannot be read. What lies beside a bad spot is
// read alone. Before is told the bytes that are read next.
func eachRecord(ctx context.Context, f io.ReaderAt, entries []pack.Entry, before func(n int64) error, got func(i int, rec []byte, err error) error) error {
	const window = 2 << 20 // more than the largest record has
	buf := make([]byte, window)
	for i := 0; i < len(entries); {
		if err := ctx.Err(); err != nil {
			return err
		}
		from, to := int64(entries[i].Offset), entries[i].End()
		j := i + 1
		for j < len(entries) && int64(entries[j].Offset) == to && entries[j].End()-from <= window {
			to = entries[j].End()
			j++
		}
		if err := before(to - from); err != nil {
			return err
		}
		n, _ := f.ReadAt(buf[:to-from], from)
		for ; i < j; i++ {
			at, length := int64(entries[i].Offset)-from, int64(entries[i].Length)
			rec := buf[at : at+length]
			var err error
			if at+length > int64(n) {
				if _, err = f.ReadAt(rec, int64(entries[i].Offset)); err != nil {
					rec = nil
				}
			}
			if err := got(i, rec, err); err != nil {
				return err
			}
		}
	}
	return nil
}
