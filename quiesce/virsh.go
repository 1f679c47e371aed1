package quiesce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-backup/holdfast/quiesce/qga"
)

// virsh thaws a domain of libvirt with nothing but the program of that name: the
// guard and the command for leftovers need no more of libvirt.
type virsh struct {
	at      Reach
	program string
}

// virshTimeout bounds one run. The request itself lives on in libvirtd, which makes the
// next ones wait for the domain's agent job.
const virshTimeout = 5 * time.Second

// ErrNoLibvirt says that libvirt does not run, or not at that URI: nothing is known of the guest.
var ErrNoLibvirt = errors.New("libvirt does not answer")

// Thaw is part of thawer.
func (v virsh) Thaw(ctx context.Context) (int, error) {
	out, err := v.run(ctx, "domfsthaw", "--domain", v.at.Domain)
	if err != nil {
		return 0, err
	}
	var n int
	if _, err := fmt.Sscanf(out, "Thawed %d filesystem", &n); err != nil {
		return 0, fmt.Errorf("virsh domfsthaw says %.200q", out)
	}
	return n, nil
}

// Frozen is not supported: asking the agent through libvirt taints the domain.
func (v virsh) Frozen(context.Context) (bool, error) { return false, errors.ErrUnsupported }

func (v virsh) run(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, virshTimeout)
	defer cancel()
	if v.at.URI != "" {
		args = append([]string{"--connect", v.at.URI}, args...)
	}
	cmd := exec.CommandContext(ctx, v.program, args...) // with --quiet it would not say how many it thawed
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	said := &bytes.Buffer{}
	cmd.Stderr = said
	out, err := cmd.Output()
	if err == nil {
		return strings.TrimSpace(string(out)), nil
	}
	text := strings.Join(strings.Fields(said.String()), " ")
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("virsh: %w", context.Cause(ctx))
	case text == "":
		return "", fmt.Errorf("virsh: %w", err)
	case strings.Contains(text, "domain is not running"), strings.Contains(text, "failed to get domain"):
		return "", fmt.Errorf("virsh: %.300s: %w", text, qga.ErrGone)
	case strings.Contains(text, "failed to connect to the hypervisor"):
		return "", fmt.Errorf("%w: virsh: %.300s", ErrNoLibvirt, text)
	}
	return "", fmt.Errorf("virsh: %.300s", text)
}
