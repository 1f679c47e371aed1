package blockstore

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"
)

// Policy says how the machines are protected that its globs match: when, how well,
// and what is kept. Its record is replaced by one of a higher generation; the newest that authenticates
// counts. What its texts mean is decided above: the vault keeps them. Slices are never changed.
type Policy struct {
	ID         PolicyID  `json:"id"`
	Name       string    `json:"name"`
	Generation uint64    `json:"generation"`
	Changed    time.Time `json:"changed"`
	Removed    bool      `json:"removed,omitempty"` // it is not a policy any more

	Machines []string `json:"machines"` // globs of names of machines
	// Tag, in the title or the metadata of a libvirt domain, has its machine belong to the policy; empty: none does.
	Tag string `json:"libvirt_tag,omitempty"`

	Schedule string `json:"schedule,omitempty"` // in words, or as cron; empty: nothing runs by itself
	Zone     string `json:"zone,omitempty"`     // time zone of all its times; empty: UTC
	Window   string `json:"window,omitempty"`   // of the day, such as 22:00-06:00; empty: always
	Jitter   int64  `json:"jitter_s,omitempty"` // seconds by which runs begin later, at most
	Limit    int64  `json:"limit_s,omitempty"`  // seconds that a run may take; 0: as long as it does

	Consistency Consistency `json:"consistency,omitempty"` // that a good point has; empty: any
	FallBack    bool        `json:"fall_back,omitempty"`   // where it is not reached; otherwise the backup fails

	Keep      Keep  `json:"keep"`
	TrashDays int   `json:"trash_days,omitempty"` // that pruned points stay in the trash; 0: as usual in the vault
	RPO       int64 `json:"rpo_s,omitempty"`      // seconds that the newest good point may be old; 0: nobody minds

	Retries   int     `json:"retries,omitempty"`            // of a run that failed; 0: as usual, negative: none
	Priority  int     `json:"priority,omitempty"`           // of two runs that wait, the higher one begins first
	ReadRate  int64   `json:"read_rate,omitempty"`          // bytes a second that one run reads at most; 0: no limit
	WriteRate int64   `json:"write_rate,omitempty"`         // bytes a second that one run writes into the vault; 0: no limit
	Verify    float64 `json:"verify_percent_day,omitempty"` // of the vault's records that are read back each day; 0: as usual, negative: none
}

// Keep is how many points of a machine are kept: the last, and the newest of so many
// hours, days, weeks, months and years. All zero: everything.
type Keep struct {
	Last    int `json:"last,omitempty"`
	Hourly  int `json:"hourly,omitempty"`
	Daily   int `json:"daily,omitempty"`
	Weekly  int `json:"weekly,omitempty"`
	Monthly int `json:"monthly,omitempty"`
	Yearly  int `json:"yearly,omitempty"`
}

// What a policy holds at most.
const (
	maxGlobs      = 1000
	maxPolicyText = 256
	maxRetries    = 100
	// MaxPriority is the highest priority of a policy, and the lowest below zero.
	MaxPriority = 100
)

// Check refuses what is no policy, as far as the vault can tell.
func (p *Policy) Check() error {
	errs := []error{CheckPolicyName(p.Name)}
	if p.Consistency != "" {
		errs = append(errs, checkConsistency(p.Consistency))
	}
	if len(p.Machines) > maxGlobs {
		errs = append(errs, fmt.Errorf("%d globs, at most %d are compared", len(p.Machines), maxGlobs))
	}
	for _, text := range slices.Concat(p.Machines, []string{p.Schedule, p.Zone, p.Window, p.Tag}) {
		if len(text) > maxPolicyText {
			errs = append(errs, fmt.Errorf("%.40q... has %d bytes, at most %d are kept", text, len(text), maxPolicyText))
		}
	}
	k := p.Keep
	if min(k.Last, k.Hourly, k.Daily, k.Weekly, k.Monthly, k.Yearly) < 0 || min(p.Jitter, p.Limit, p.RPO, p.ReadRate, p.WriteRate) < 0 {
		errs = append(errs, errors.New("a number is negative"))
	}
	if p.TrashDays < 0 || p.TrashDays > MaxTrashDays {
		errs = append(errs, fmt.Errorf("%d days in the trash: choose 1 to %d", p.TrashDays, MaxTrashDays))
	}
	if p.Retries > maxRetries || p.Priority > MaxPriority || p.Priority < -MaxPriority || !(p.Verify <= 100) {
		errs = append(errs, fmt.Errorf("%d retries, priority %d, %v %% a day: at most %d, %d either way, and 100", p.Retries, p.Priority, p.Verify, maxRetries, MaxPriority))
	}
	return errors.Join(errs...)
}

// Policies returns the policies of the vault, sorted by name. Where single
// records cannot be read, the others are returned together with an error.
func (v *Vault) Policies(ctx context.Context) ([]Policy, error) {
	all, err := v.allPolicies(ctx)
	return slices.DeleteFunc(all, func(p Policy) bool { return p.Removed }), err
}

// Policy returns the policy of a name.
func (v *Vault) Policy(ctx context.Context, name string) (Policy, error) {
	all, err := v.Policies(ctx)
	for _, p := range all {
		if p.Name == name {
			return p, nil
		}
	}
	return Policy{}, errors.Join(fmt.Errorf("policy %s: %w", name, ErrNotFound), err)
}

// allPolicies returns those too that were removed.
func (v *Vault) allPolicies(ctx context.Context) (all []Policy, err error) {
	all, err = readEach(ctx, v, policiesDir, func(id string) (Policy, error) { return v.policy(PolicyID(id)) })
	slices.SortFunc(all, func(a, b Policy) int { return slices.Compare([]byte(a.Name), []byte(b.Name)) })
	return all, err
}

// policy reads the newest record of a policy that authenticates.
func (v *Vault) policy(id PolicyID) (Policy, error) {
	folder := path.Join(policiesDir, string(id))
	errs := []error{fmt.Errorf("policy %s has no record that can be read", id)}
	for range 3 { // records that are replaced meanwhile are not there any more
		names, err := v.dir.List(folder)
		if err != nil {
			return Policy{}, err
		}
		if len(names) == 0 {
			time.Sleep(20 * time.Millisecond) // it may be being made
			continue
		}
		gone := false
		for _, name := range slices.Backward(names) {
			var p Policy
			err := v.readRecord(policyKind, path.Join(folder, name), &p)
			if err == nil && p.ID == id {
				if err = p.Check(); err == nil {
					return p, nil
				}
			}
			gone = gone || isNotExist(err)
			errs = append(errs, err)
		}
		if !gone {
			break
		}
	}
	return Policy{}, errors.Join(errs...)
}
