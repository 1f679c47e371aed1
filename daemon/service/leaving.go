package service

import (
	"context"
	"errors"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// leaving makes of the error of something that was interrupted one that says what state it left
// behind. Damage is not hidden by that, nor is a better word.
func leaving(ctx context.Context, err error, state string) error {
	var known *Interrupted
	var corrupt *blockstore.CorruptError
	if err == nil || ctx.Err() == nil || errors.As(err, &known) || errors.As(err, &corrupt) {
		return err
	}
	return &Interrupted{context.Cause(ctx), state}
}
