package far

import (
	"errors"
	"io/fs"
	"net/http"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// problem is an error that a daemon answered with, which is also one that callers of a vault know.
type problem struct {
	*api.Problem
	is error
}

// Passing tells that a grant can change it: fusefs asks.
func (p *problem) Passing() bool { return errors.Is(p.is, fs.ErrPermission) }

func (p *problem) Unwrap() []error { return []error{p.Problem, p.is} }

// away says that the daemon does not answer.
type away struct{ error }

// Passing tells that it may answer again: fusefs asks.
func (a *away) Passing() bool { return true }

func (a *away) Unwrap() error { return a.error }

// explained makes of the daemon's problems errors as a vault has them.
func (v *Vault) explained(err error) error {
	var p *api.Problem
	if !errors.As(err, &p) {
		return err
	}
	switch {
	case p.Damage != nil:
		return &blockstore.CorruptError{Machine: p.Damage.Machine, Point: blockstore.PointID(p.Damage.Point), Disk: p.Damage.Disk,
			Offset: p.Damage.Offset, Length: p.Damage.Length, Err: errors.New("the daemon cannot read it")}
	case p.Status == http.StatusForbidden, p.Status == http.StatusUnauthorized:
		err = &problem{p, fs.ErrPermission}
	case p.Status == http.StatusNotFound:
		err = &problem{p, blockstore.ErrNotFound}
	default:
		return err
	}
	v.lost(err)
	return err
}
