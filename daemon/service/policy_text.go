package service

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/policy"
)

// PolicyText is a policy as people write it, on a command line or in a file.
type PolicyText struct {
	Machines    []string `yaml:"machines"`
	Schedule    string   `yaml:"schedule"`
	Timezone    string   `yaml:"timezone"`
	Window      string   `yaml:"window"`
	Jitter      *string  `yaml:"jitter"` // nil: UsualJitter
	MaxDuration string   `yaml:"max-duration"`
	Consistency string   `yaml:"consistency"`
	Otherwise   string   `yaml:"otherwise"`
	Keep        KeepText `yaml:"keep"`
	TrashDays   int      `yaml:"trash-days"`
	RPO         string   `yaml:"rpo"`
	LibvirtTag  string   `yaml:"libvirt-tag"`
	Retries     *int     `yaml:"retries"` // nil: UsualRetries
	Priority    int      `yaml:"priority"`
	ReadRate    string   `yaml:"read-rate"` // a size, a second
	WriteRate   string   `yaml:"write-rate"`
	Verify      *float64 `yaml:"verify-percent"` // of the vault, a day; nil: UsualVerify
}

// KeepText is the retention of a policy as people write it.
type KeepText struct {
	Last    int `yaml:"last"`
	Hourly  int `yaml:"hourly"`
	Daily   int `yaml:"daily"`
	Weekly  int `yaml:"weekly"`
	Monthly int `yaml:"monthly"`
	Yearly  int `yaml:"yearly"`
}

// UsualJitter is by how much runs begin later, at most, unless a policy says otherwise.
const UsualJitter = 30 * time.Minute

// UsualRetries is how often a run that failed is tried again, and UsualVerify how many
// percent of the vault are read back each day, unless a policy says otherwise.
const (
	UsualRetries = 3
	UsualVerify  = 1
)

// Retries is how often a run by p that failed is tried again.
func Retries(p blockstore.Policy) int {
	if p.Retries == 0 {
		return UsualRetries
	}
	return max(p.Retries, 0)
}

// VerifyPercent is how many percent of the vault p wants read back each day.
func VerifyPercent(p blockstore.Policy) float64 {
	if p.Verify == 0 {
		return UsualVerify
	}
	return max(p.Verify, 0)
}

// KeyError is what is wrong with one key of a policy, named as in a file.
type KeyError struct {
	Key string
	Err error
}

func (e *KeyError) Error() string { return fmt.Sprintf("%s: %v", e.Key, e.Err) }
func (e *KeyError) Unwrap() error { return e.Err }

// reading collects what is wrong with the keys of a policy.
type reading struct{ errs []error }

func (r *reading) check(key string, err error) {
	if err != nil {
		r.errs = append(r.errs, &KeyError{key, err})
	}
}

func (r *reading) seconds(key, text string) int64 {
	if text == "" {
		return 0
	}
	d, err := policy.ParseSpan(text)
	r.check(key, err)
	return int64(d / time.Second)
}

// Policy returns the policy of a name that the text stands for. The error joins a
// [*KeyError] for each key that is wrong.
func (t PolicyText) Policy(name string) (blockstore.Policy, error) {
	var r reading
	r.check("name", blockstore.CheckPolicyName(name))
	p := blockstore.Policy{Name: name, Machines: slices.Clone(t.Machines), Schedule: strings.Join(strings.Fields(t.Schedule), " "), Zone: t.Timezone, Window: t.Window,
		Jitter: int64(UsualJitter / time.Second), Limit: r.seconds("max-duration", t.MaxDuration), RPO: r.seconds("rpo", t.RPO),
		Consistency: blockstore.Consistency(t.Consistency), FallBack: t.Otherwise != "fail", Keep: blockstore.Keep(t.Keep), TrashDays: t.TrashDays}
	if t.Jitter != nil {
		p.Jitter = r.seconds("jitter", *t.Jitter)
	}
	t.care(&p, &r)
	for _, g := range t.Machines {
		r.check("machines", policy.CheckGlob(g))
	}
	zone, err := policy.Zone(t.Timezone)
	r.check("timezone", err)
	if p.Schedule != "" {
		_, err = policy.ParseSchedule(p.Schedule, zone)
		r.check("schedule", err)
	}
	w, err := policy.ParseWindow(t.Window, zone)
	r.check("window", err)
	p.Window = w.String()
	if !slices.Contains([]string{"", "crash", "filesystem", "application"}, t.Consistency) {
		r.check("consistency", fmt.Errorf("%.40q: choose crash, filesystem or application", t.Consistency))
	}
	if !slices.Contains([]string{"", "fail", "fall-back"}, t.Otherwise) {
		r.check("otherwise", fmt.Errorf("%.40q: choose fail or fall-back", t.Otherwise))
	}
	r.check("keep", policy.Retention(t.Keep).Check())
	if t.TrashDays < 0 || t.TrashDays > blockstore.MaxTrashDays {
		r.check("trash-days", fmt.Errorf("%d: choose 1 to %d, or 0 for as many as is usual in the vault", t.TrashDays, blockstore.MaxTrashDays))
	}
	if len(r.errs) == 0 {
		r.errs = append(r.errs, p.Check())
	}
	return p, errors.Join(r.errs...)
}

// care reads with how much care, and effort, p is followed.
func (t PolicyText) care(p *blockstore.Policy, r *reading) {
	r.check("libvirt-tag", policy.CheckTag(t.LibvirtTag))
	p.Tag, p.Priority = t.LibvirtTag, t.Priority
	p.ReadRate, p.WriteRate = r.rate("read-rate", t.ReadRate), r.rate("write-rate", t.WriteRate)
	if t.Priority < -blockstore.MaxPriority || t.Priority > blockstore.MaxPriority {
		r.check("priority", fmt.Errorf("%d: choose %d to %d", t.Priority, -blockstore.MaxPriority, blockstore.MaxPriority))
	}
	if t.Retries != nil {
		if p.Retries = *t.Retries; p.Retries < 0 || p.Retries > maxRetries {
			r.check("retries", fmt.Errorf("%d: choose 0 to %d", p.Retries, maxRetries))
		} else if p.Retries == 0 {
			p.Retries = -1 // in a record, 0 is the usual number
		} else if p.Retries == UsualRetries {
			p.Retries = 0
		}
	}
	if t.Verify != nil {
		if p.Verify = *t.Verify; !(p.Verify >= 0 && p.Verify <= 100) {
			r.check("verify-percent", fmt.Errorf("%v: choose 0 to 100", p.Verify))
			p.Verify = 0
		} else if p.Verify == 0 {
			p.Verify = -1
		} else if p.Verify == UsualVerify {
			p.Verify = 0
		}
	}
}

const maxRetries = 100

// rate reads bytes a second; nothing and 0 are no limit.
func (r *reading) rate(key, text string) int64 {
	if text == "" {
		return 0
	}
	n, err := api.ParseSize(strings.TrimSuffix(text, "/s"))
	r.check(key, err)
	return n
}

// rate writes bytes a second as they are read again.
func rate(n int64) string {
	if n == 0 {
		return ""
	}
	short := strings.ReplaceAll(api.FormatSize(n), " ", "")
	if again, err := api.ParseSize(short); err == nil && again == n {
		return short
	}
	return strconv.FormatInt(n, 10)
}

// TextOf writes a policy as a person would.
func TextOf(p blockstore.Policy) PolicyText {
	jitter := span(p.Jitter)
	retries, verify := Retries(p), VerifyPercent(p)
	t := PolicyText{Machines: slices.Clone(p.Machines), Schedule: p.Schedule, Timezone: p.Zone, Window: p.Window, Jitter: &jitter, MaxDuration: span(p.Limit),
		Consistency: string(p.Consistency), Otherwise: "fail", Keep: KeepText(p.Keep), TrashDays: p.TrashDays, RPO: span(p.RPO),
		LibvirtTag: p.Tag, Retries: &retries, Priority: p.Priority, ReadRate: rate(p.ReadRate), WriteRate: rate(p.WriteRate), Verify: &verify}
	if p.FallBack {
		t.Otherwise = "fall-back"
	}
	return t
}

// TextTold is TextOf of a policy as it is told.
func TextTold(p api.Policy) PolicyText {
	jitter := span(p.Jitter)
	return PolicyText{Machines: slices.Clone(p.Globs), Schedule: p.Schedule, Timezone: p.Timezone, Window: p.Window, Jitter: &jitter, MaxDuration: span(p.MaxDuration),
		Consistency: p.Consistency, Otherwise: p.Otherwise, Keep: KeepText(p.Keep), TrashDays: p.TrashDays, RPO: span(p.RPO),
		LibvirtTag: p.Tag, Retries: &p.Retries, Priority: p.Priority, ReadRate: rate(p.ReadRate), WriteRate: rate(p.WriteRate), Verify: &p.Verify}
}

func span(seconds int64) string { return policy.FormatSpan(time.Duration(seconds) * time.Second) }

// lines are what a policy says, by key, in the order of a file.
func lines(p blockstore.Policy) [][2]string {
	t := TextOf(p)
	return [][2]string{{"machines", strings.Join(t.Machines, ", ")}, {"schedule", t.Schedule}, {"timezone", t.Timezone}, {"window", t.Window}, {"jitter", *t.Jitter},
		{"max-duration", t.MaxDuration}, {"consistency", t.Consistency}, {"otherwise", t.Otherwise}, {"keep", policy.Retention(t.Keep).String()},
		{"trash-days", strconv.Itoa(t.TrashDays)}, {"rpo", t.RPO}, {"libvirt-tag", t.LibvirtTag}, {"retries", strconv.Itoa(*t.Retries)}, {"priority", strconv.Itoa(t.Priority)},
		{"read-rate", t.ReadRate}, {"write-rate", t.WriteRate}, {"verify-percent", strconv.FormatFloat(*t.Verify, 'f', -1, 64)}}
}

// diffPolicy returns what differs, a line for each key.
func diffPolicy(from, to blockstore.Policy) (diff []string) {
	a, b := lines(from), lines(to)
	for i := range a {
		if a[i][1] != b[i][1] {
			diff = append(diff, fmt.Sprintf("%s: %s -> %s", a[i][0], orNone(a[i][1]), orNone(b[i][1])))
		}
	}
	return diff
}

func orNone(s string) string {
	if s == "" || s == "0" {
		return "none"
	}
	return s
}
