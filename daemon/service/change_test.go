package service

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

func TestARequestToProtectIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	image := []api.ImageDisk{{Name: "vda", Path: "/vms/a.raw"}}
	for name, r := range map[string]api.ProtectRequest{
		"no way":           {Name: "a"},
		"two ways":         {Name: "a", Domain: "x", Protection: api.Protection{Images: image}},
		"no name":          {Protection: api.Protection{Images: image}},
		"a bad name":       {Name: "a/b", Domain: "x"},
		"consistency":      {Name: "a", Domain: "x", Protection: api.Protection{Consistency: "total"}},
		"otherwise":        {Name: "a", Domain: "x", Protection: api.Protection{Otherwise: "perhaps"}},
		"a relative image": {Name: "a", Protection: api.Protection{Images: []api.ImageDisk{{Name: "vda", Path: "a.raw"}}}},
		"a relative chain": {Name: "a", Protection: api.Protection{Images: []api.ImageDisk{{Name: "vda", Path: "/a.raw", Backing: []string{".."}}}}},
		"a bad disk":       {Name: "a", Protection: api.Protection{Images: []api.ImageDisk{{Name: "../x", Path: "/a.raw"}}}},
		"a bad exclusion":  {Name: "a", Domain: "x", Protection: api.Protection{Exclude: []string{"../x"}}},
		"a long freeze":    {Name: "a", Domain: "x", Protection: api.Protection{FreezeTimeout: 1e300}},
		"a negative hook":  {Name: "a", Domain: "x", Protection: api.Protection{Hooks: []api.Hook{{Place: "host", Pre: "true", Timeout: -1}}}},
		"scratch":          {Name: "a", Domain: "x", Scratch: api.Scratch{Folder: "tmp"}},
	} {
		_, err := protectionOf(r)
		var invalid *Invalid
		if !errors.As(err, &invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhoIsNotTrustedReachesNothingOfTheHostByProtecting(t *testing.T) {
	t.Parallel()
	ctx := api.WithCaller(t.Context(), api.Caller{Name: "eve"})
	for name, r := range map[string]api.ProtectRequest{
		"an image":  {Name: "a", Protection: api.Protection{Images: []api.ImageDisk{{Name: "vda", Path: "/etc/shadow"}}}},
		"a socket":  {Name: "a", Protection: api.Protection{QMP: "/run/x"}},
		"a hook":    {Name: "a", Domain: "x", Protection: api.Protection{Hooks: []api.Hook{{Place: "host", Pre: "id"}}}},
		"an URI":    {Name: "a", Domain: "x", Protection: api.Protection{URI: "qemu+ext:///system?command=/bin/sh"}},
		"a scratch": {Name: "a", Domain: "x", Scratch: api.Scratch{Folder: "/etc"}},
	} {
		_, err := protect(ctx, r, func(func(*blockstore.Owner) error) error { t.Errorf("%s: the vault is opened", name); return nil })
		var refused *NotAllowed
		if !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestALockThatCannotBeMeantIsRefused(t *testing.T) {
	t.Parallel()
	now := time.Now()
	points := []api.PointRef{{Machine: "web1", Point: "latest"}}
	far, past := api.At(now.Add(2*LongestLock)), api.At(now.Add(-time.Hour))
	for name, r := range map[string]api.PointsRequest{
		"no points": {Change: api.DeletePoint}, "no change": {Points: points}, "unknown": {Change: "burn", Points: points},
		"no time": {Change: api.LockPoint, Points: points}, "past": {Change: api.LockPoint, Points: points, Until: &past}, "far": {Change: api.LockPoint, Points: points, Until: &far},
	} {
		_, _, err := pointChange(&blockstore.Owner{}, r, now)
		var invalid *Invalid
		if !errors.As(err, &invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPolicyThatIsWrittenTwiceIsRefusedWhole(t *testing.T) {
	t.Parallel()
	p := api.PolicySpec{Name: "nightly", Machines: []string{"*"}, Schedule: "daily at 22:00"}
	for name, r := range map[string]api.PoliciesRequest{
		"twice": {Policies: []api.PolicySpec{p, p}}, "bad": {Policies: []api.PolicySpec{p, {Name: "b", Schedule: "whenever"}}},
	} {
		changes, err := setPolicies(t.Context(), nil, nil, r) // a vault would be asked only then
		var invalid *Invalid
		if !errors.As(err, &invalid) || len(changes) > 0 {
			t.Errorf("%s: %v, %v", name, changes, err)
		}
	}
}

func TestAPolicyIsTheSameAfterItWasSpelledOut(t *testing.T) {
	t.Parallel()
	policies, err := ReadPolicies([]byte(aFile))
	if err != nil {
		t.Fatal(err)
	}
	full := blockstore.Policy{}
	for i := range reflect.TypeOf(full).NumField() { // so that a field that is new is not forgotten here
		switch f := reflect.ValueOf(&full).Elem().Field(i); f.Kind() {
		case reflect.Int, reflect.Int64:
			f.SetInt(3)
		}
	}
	for _, p := range policies {
		full.Name, full.Machines, full.Schedule, full.Zone, full.Keep = p.Name, p.Machines, p.Schedule, p.Zone, p.Keep
		for _, q := range []blockstore.Policy{p, full} {
			again, err := policyOf(SpecOf(q))
			if diff := diffPolicy(q, again); err != nil || len(diff) > 0 {
				t.Errorf("%s: %v, %v", q.Name, diff, err)
			}
		}
	}
}
