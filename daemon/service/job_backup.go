package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/backup"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
)

// Outcomes of a backup.
const (
	Completed         = "completed"
	CompletedWarnings = "completed with warnings"
)

const nothingMade = "no recovery point was made; what was stored is used by the next backup of the machine"

// backupBody makes one recovery point.
func (s *Service) backupBody(h How) body {
	return func(ctx context.Context, r *jobs.Report, q api.JobRequest) (any, error) {
		o := api.BackupOptions{}
		if q.Backup != nil {
			o = *q.Backup
		}
		b := backing{s: s, r: r, policy: h.Policy, by: h.By, machine: q.Machine, o: o, handed: q.Handed()}
		if err := b.prepare(ctx, q.Vault); err != nil {
			return nil, err
		}
		var made any
		err := s.vaults.Own(ctx, q.Vault, ToStore, func(owner *blockstore.Owner) error {
			began := time.Now()
			result, err := b.run(ctx, owner)
			if p := owner.Beside(); p != "" {
				r.Note(fmt.Sprintf("%s lies on the file system of the vault: twice as much is kept free there as elsewhere; --min-free SIZE says how much", p))
			}
			if errors.Is(err, blockstore.ErrFull) {
				err = whatHelps(ctx, owner.Vault, err)
			}
			if err != nil {
				return leaving(ctx, err, nothingMade)
			}
			made = b.describe(result, time.Since(began))
			return nil
		})
		return made, s.adviseOnFull(ctx, q.Vault, err)
	}
}

// adviseOnFull adds to the error of a vault that was full from the start what gives space back.
func (s *Service) adviseOnFull(ctx context.Context, vault string, err error) error {
	var told *HintError
	if !errors.Is(err, blockstore.ErrFull) || errors.As(err, &told) {
		return err
	}
	advised := err
	if s.vaults.Read(ctx, vault, func(v *blockstore.Vault) error { advised = whatHelps(ctx, v, err); return nil }) != nil {
		return err
	}
	return advised
}

// backing is one backup.
type backing struct {
	s               *Service
	r               *jobs.Report
	policy, machine string
	by              string // who asked for it
	o               api.BackupOptions
	handed          *api.Handed    // the images, where who asked for it opened them
	images          backup.Request // of a machine whose images are named
}

// prepare refuses what cannot be backed up, before the vault is waited for.
func (b *backing) prepare(ctx context.Context, vault string) error {
	if len(b.o.Disks) == 0 {
		return nil
	}
	disks, err := parseDisks(b.o.Disks, b.o.AllowInUse)
	from := ""
	if b.handed != nil {
		disks, err = handedDisks(b.o.Disks, b.o.Open, b.handed.Files, b.o.AllowInUse)
		from = b.by
	}
	if err != nil {
		return err
	}
	b.images = backup.Request{From: from, Machine: b.machine, Disks: disks, Tool: b.s.o.Tool, SkipUnchanged: b.o.SkipUnchanged, Rate: b.o.Rate, WriteRate: b.o.WriteRate, Depth: b.s.o.ReadDepth, Progress: b.progress}
	known, err := b.s.vaults.Find(ctx, vault)
	if err != nil {
		return err
	}
	if _, err := os.Stat(known.Path); err == nil { // else there is more to say than that it is missing
		if err := b.images.Check(known.Path); err != nil {
			return fmt.Errorf("back up %s: %w", b.machine, err)
		}
	}
	return nil
}

// parseDisks reads disks as [api.BackupOptions] names them. An error is an *Invalid.
func parseDisks(values []string, allowInUse bool) ([]backup.Disk, error) {
	var disks []backup.Disk
	seen := map[string]bool{}
	for _, value := range values {
		name, spec, _ := strings.Cut(value, "=")
		if spec == "" {
			return nil, invalidf("--disk %.80q: write NAME=IMAGE, for example vda=/vms/web1.raw", value)
		}
		if err := blockstore.CheckDiskName(name); err != nil {
			return nil, invalidf("--disk: %v", err)
		}
		if seen[name] {
			return nil, invalidf("disk %s is named twice", name)
		}
		seen[name] = true
		d, err := backup.ParseImage(name, spec, allowInUse)
		if err != nil {
			return nil, invalidf("--disk %s: %v", name, err)
		}
		disks = append(disks, d)
	}
	return disks, nil
}

func (b *backing) progress(p backup.Progress) {
	if p.Phase != "" {
		b.r.Phase(p.Phase)
	}
	b.r.Progress(jobs.Progress{Done: p.Done, Total: p.Total, Unit: "bytes", Read: p.Sizes.Read, Changed: p.Sizes.Changed, Stored: p.Sizes.Stored})
}

// run makes the point.
func (b *backing) run(ctx context.Context, owner *blockstore.Owner) (*backup.Result, error) {
	if len(b.o.Disks) > 0 {
		if m, err := owner.Machine(ctx, b.machine); err == nil {
			if err := owner.CheckHeld(m); err != nil {
				return nil, err
			}
			if m.Protected != nil && b.handed != nil {
				return nil, notOfProtected(m.Name)
			}
		}
		return backup.Run(ctx, owner, b.images)
	}
	m, err := FindMachine(ctx, owner.Vault, b.machine)
	if err != nil {
		return nil, err
	}
	if m, err = b.demand(ctx, owner.Vault, m); err != nil {
		return nil, err
	}
	journal, err := b.s.journal()
	if err != nil {
		return nil, err
	}
	reach := backup.Reaching{AllowInUse: b.o.AllowInUse, Scratch: b.scratch(m)}
	result, err := backup.RunMachine(ctx, owner, backup.MachineRequest{
		Machine: m, Tool: b.s.o.Tool, Open: reach.Open, Journal: journal, Guard: b.s.o.Guard, Scan: b.o.Scan, IncludeSecrets: b.o.IncludeSecrets,
		SkipUnchanged: b.o.SkipUnchanged, Rate: b.o.Rate, WriteRate: b.o.WriteRate, Depth: b.s.o.ReadDepth, Progress: b.progress,
	})
	if err == nil && m.Protected.Windows && !m.Protected.AcceptVSS && result.Point.Reached != blockstore.Crash {
		b.r.Note(VSSWarning)
	}
	return result, err
}

// scratch says where what the guest overwrites meanwhile is kept: where it was asked for, else where the machine's
// record says, else where this service does.
func (b *backing) scratch(m blockstore.Machine) backup.Scratch {
	p := m.Protected
	if b.o.Scratch == (api.Scratch{}) && (p == nil || p.Scratch == "" && p.ScratchCap == 0 && p.ScratchFree == 0) {
		return ScratchOf(b.s.o.Scratch)
	}
	return ScratchOf(b.o.Scratch)
}

// demand asks of a machine's backup what its policy demands, where that says anything.
func (b *backing) demand(ctx context.Context, v *blockstore.Vault, m blockstore.Machine) (blockstore.Machine, error) {
	if b.policy == "" || m.Protected == nil {
		return m, nil
	}
	p, err := v.Policy(ctx, b.policy)
	if err != nil {
		return m, err
	}
	if p.Consistency != "" {
		asked := *m.Protected
		asked.Consistency, asked.FallBack = p.Consistency, p.FallBack
		m.Protected = &asked
	}
	return m, nil
}

// describe reports the result, and returns it as programs see it.
func (b *backing) describe(r *backup.Result, took time.Duration) api.Backup {
	for _, n := range r.Notes {
		b.r.Note(n)
	}
	for _, w := range r.Warnings {
		b.r.Warn(w)
	}
	a := api.Backup{Point: DescribePoint(r.Point), Skipped: append([]string{}, r.Skipped...), Outcome: Completed, Notes: append([]string{}, r.Notes...),
		Warnings: append([]string{}, r.Warnings...), Healed: r.Healed, Seconds: took.Seconds()}
	if len(r.Warnings) > 0 {
		a.Outcome = CompletedWarnings
	}
	return a
}
