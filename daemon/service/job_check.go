package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
)

// checkRequest refuses options that contradict each other.
func checkRequest(q api.JobRequest) error {
	c := q.Check
	switch {
	case c == nil:
		return nil
	case !c.Data && (c.Percent != 0 || c.Rate != 0 || c.Point != ""):
		return invalidf("percent, rate and a point are about reading blocks: ask for the data to be read")
	case !(c.Percent >= 0 && c.Percent <= 100), c.Rate < 0:
		return invalidf("percent is %v and rate %d: choose up to 100 percent, and a rate that is not negative", c.Percent, c.Rate)
	case c.Point != "" && (c.Percent != 0 || q.Machine == ""):
		return invalidf("a point belongs to a machine, and is read whole")
	}
	return nil
}

// check examines a vault. What harms points is an error beside the result.
func (s *Service) check(ctx context.Context, r *jobs.Report, q api.JobRequest) (any, error) {
	o := api.CheckOptions{}
	if q.Check != nil {
		o = *q.Check
	}
	known, err := s.vaults.Find(ctx, q.Vault)
	if err != nil {
		return nil, err
	}
	var report *blockstore.CheckReport
	err = s.vaults.Read(ctx, q.Vault, func(v *blockstore.Vault) error {
		if report, err = runCheck(ctx, r, v, q.Machine, o, s.o.StateDir); err != nil {
			return leaving(ctx, err, "the check was not finished; a check changes nothing, and one with --percent goes on where this one stopped")
		}
		if !o.ReadOnly {
			s.noteChecked(ctx, r, q.Vault, known.Path, report)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	found := DescribeCheck(report, o.Data)
	switch faults := Count(len(found.Faults), "fault"); {
	case len(found.Faults) == 0:
	case report.Harmed():
		return found, &Damaged{fmt.Sprintf("vault %s is damaged: %s", known.Path, faults)}
	default:
		r.Warn(fmt.Sprintf("vault %s has %s, and no recovery point is harmed", known.Path, faults))
	}
	return found, nil
}

func runCheck(ctx context.Context, r *jobs.Report, v *blockstore.Vault, machine string, o api.CheckOptions, stateDir string) (*blockstore.CheckReport, error) {
	unit := "points"
	if o.Data {
		unit = "bytes"
	}
	how := blockstore.CheckOptions{Data: o.Data, Percent: o.Percent, Rate: o.Rate}
	if o.Data {
		how.StateDir = stateDir
	}
	how.Progress = func(done, total int64) {
		p := jobs.Progress{Done: done, Total: total, Unit: unit}
		if o.Data {
			p.Read = done
		}
		r.Progress(p)
		r.GiveWay(ctx) // no lock is held meanwhile; the end of ctx is seen by who reads next
	}
	if o.Point == "" {
		return v.Check(ctx, how)
	}
	p, err := FindPoint(ctx, v, api.PointRef{Machine: machine, Point: o.Point})
	if err != nil {
		return nil, err
	}
	return v.CheckPoint(ctx, p, how)
}

// noteChecked tells the vault what a check found, if this process can become its
// owner at once, or is.
func (s *Service) noteChecked(ctx context.Context, r *jobs.Report, vault, path string, c *blockstore.CheckReport) {
	if len(c.Damaged)+len(c.Torn) == 0 && (c.ReadSince.IsZero() || c.Points == 0) {
		return
	}
	// Files of another user's could not be read by the vault's own.
	var st syscall.Stat_t
	err := syscall.Stat(path, &st)
	if err != nil || int(st.Uid) != os.Geteuid() {
		err = errors.Join(errors.New("the vault belongs to another user"), err)
	} else {
		err = s.vaults.Own(ctx, vault, ToNote, func(owner *blockstore.Owner) error { return noteDamage(ctx, r, owner, c) })
	}
	if err != nil {
		r.Note(fmt.Sprintf("what was found was not noted in the vault: %v", err))
	}
}

func noteDamage(ctx context.Context, r *jobs.Report, owner *blockstore.Owner, c *blockstore.CheckReport) error {
	_, good, err := owner.NoteDamage(ctx, c.Damaged)
	if good > 0 {
		defer r.Note(fmt.Sprintf("%d records that were noted as damaged can be read again", good))
	}
	if err == nil {
		_, err = owner.NoteVerified(ctx, c)
	}
	if err == nil {
		var mended int
		if mended, err = owner.Mend(ctx, c.Torn); mended > 0 {
			r.Note(fmt.Sprintf("%s with a damaged header or footer rewritten: nothing in them was lost", Count(mended, "pack")))
		}
	}
	return err
}
