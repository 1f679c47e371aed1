package libvirt

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// qemuImg runs qemu-img on a local image.
func qemuImg(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	tool, err := exec.LookPath("qemu-img")
	if err != nil {
		return "", fmt.Errorf("%w (it is in the package qemu-utils)", err)
	}
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	out, said := &bounded{limit: maxOutput, full: cancel}, &bounded{limit: maxMessage}
	cmd.Stdout, cmd.Stderr = out, said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", fmt.Errorf("qemu-img %s: %w: %s", args[0], err, message(said.String()))
	}
	return out.String(), nil
}

// removeBitmap takes a bitmap out of a qcow2 image that nobody uses. One that is not
// there is no error.
func removeBitmap(ctx context.Context, path, name string) error {
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("remove bitmap from %q: not a whole path", path)
	}
	_, err := qemuImg(ctx, "bitmap", "--remove", "-f", "qcow2", path, name)
	if err != nil && strings.Contains(err.Error(), "does not exist") || err != nil && strings.Contains(err.Error(), "not found") {
		return nil
	}
	return err
}
