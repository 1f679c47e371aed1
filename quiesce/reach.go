package quiesce

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/holdfast-backup/holdfast/quiesce/qga"
)

// Reach says how a guest's agent is reached by whoever knows nothing else of
// the machine: by its own socket, or through libvirt.
type Reach struct {
	QGA    string `json:"qga,omitempty"`    // path of the agent's Unix socket
	URI    string `json:"uri,omitempty"`    // of libvirt; "": virsh's own choice
	Domain string `json:"domain,omitempty"` // UUID or name of the domain in libvirt
}

// String names the way for people.
func (r Reach) String() string {
	switch {
	case r.QGA != "":
		return r.QGA
	case r.URI != "":
		return r.URI + " " + r.Domain
	}
	return "libvirt domain " + r.Domain
}

// settled is r with a path that holds in any working directory.
func (r Reach) settled() (Reach, error) {
	switch {
	case (r.QGA == "") == (r.Domain == ""):
		return r, errors.New("a guest is reached by the socket of its agent or as a domain of libvirt")
	case r.QGA == "":
		return r, nil
	}
	var err error
	r.QGA, err = filepath.Abs(r.QGA)
	return r, err
}

// thawer is what thawing needs of a guest.
type thawer interface {
	Thaw(ctx context.Context) (int, error)
	// Frozen may say errors.ErrUnsupported.
	Frozen(ctx context.Context) (bool, error)
}

// open returns the guest, and what ends the connection to it.
func (r Reach) open() (thawer, func() error) {
	if r.QGA != "" {
		agent := qga.New(r.QGA)
		return agent, agent.Close
	}
	return virsh{r, "virsh"}, func() error { return nil }
}

// thawAt thaws the guest at r, until that is verified, ctx ends or the machine
// turns out not to run (an error that is [qga.ErrGone]). It returns how many file systems were
// frozen.
func thawAt(ctx context.Context, r Reach) (int, error) {
	guest, end := r.open()
	defer end()
	t, err := thaw(ctx, guest, thawCall)
	if err != nil {
		return 0, fmt.Errorf("thaw the guest at %s: %w", r, err)
	}
	return t.count, nil
}
