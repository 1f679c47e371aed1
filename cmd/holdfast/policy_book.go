package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// policyBook is where the policies of a vault are looked up: in it, or with the daemon that owns it.
type policyBook struct {
	// text returns what a policy says; where there is none, an error that is blockstore.ErrNotFound.
	text func(ctx context.Context, name string) (service.PolicyText, error)
	// all lists policies, and what is odd about them.
	all func(ctx context.Context) (all []api.Policy, doubts []string, unread error)
}

// withPolicies has do look policies up.
func (k *console) withPolicies(ctx context.Context, path string, do func(policyBook) error) error {
	if w := k.reader(ctx, path); w != nil {
		defer w.close()
		return do(policyBook{
			text: func(ctx context.Context, name string) (service.PolicyText, error) {
				p, err := farPolicy(ctx, w, name)
				if err != nil {
					return service.PolicyText{}, err
				}
				return service.TextTold(p), nil
			},
			all: func(ctx context.Context) ([]api.Policy, []string, error) {
				all, err := w.Policies(ctx, w.vault)
				return all, nil, err
			},
		})
	}
	v, err := openVault(ctx, k, path)
	if err != nil {
		return err
	}
	defer v.Close()
	return do(policyBook{
		text: func(ctx context.Context, name string) (service.PolicyText, error) {
			p, err := findPolicy(ctx, v, name)
			if err != nil {
				return service.PolicyText{}, err
			}
			return service.TextOf(p), nil
		},
		all: func(ctx context.Context) ([]api.Policy, []string, error) { return policiesOf(ctx, v) },
	})
}

// farPolicy has a daemon tell of a policy.
func farPolicy(ctx context.Context, w *worker, name string) (api.Policy, error) {
	all, err := w.Policies(ctx, w.vault)
	if err != nil {
		return api.Policy{}, err
	}
	var names []string
	for _, p := range all {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return api.Policy{}, noPolicy(fmt.Errorf("policy %s: %w", name, blockstore.ErrNotFound), name, names)
}

// noPolicy says what is near a name of which there is no policy.
func noPolicy(err error, name string, names []string) error {
	if s := service.Closest(name, names); s != "" {
		return service.Hinted(err, fmt.Sprintf("did you mean %s?", s))
	}
	return service.Hinted(err, "`holdfast policy list` lists the policies of the vault")
}

func isNotFound(err error) bool { return errors.Is(err, blockstore.ErrNotFound) }
