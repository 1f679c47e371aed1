package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// bitmapsTimeout bounds each look into an image and each change of it.
const bitmapsTimeout = 30 * time.Second

// RemoveBitmaps removes the dirty bitmaps whose names begin with prefix from a qcow2 image that
// nobody uses, and returns their names. QEMU's locks keep one in use from being changed. It
// needs qemu-img.
func RemoveBitmaps(ctx context.Context, path, prefix string) (removed []string, err error) {
	if !filepath.IsAbs(path) || prefix == "" {
		return nil, fmt.Errorf("remove bitmaps %q from %q: give a whole path and the beginning of names", prefix, path)
	}
	out, err := imageTool(ctx, "info", "--output=json", "-f", "qcow2", path)
	if err != nil {
		return nil, fmt.Errorf("bitmaps of %s: %w", path, err)
	}
	var info struct {
		Specific struct {
			Data struct {
				Bitmaps []struct {
					Name string `json:"name"`
				} `json:"bitmaps"`
			} `json:"data"`
		} `json:"format-specific"`
	}
	if err := json.Unmarshal(out, &info); err != nil {
		return nil, fmt.Errorf("bitmaps of %s: %w", path, err)
	}
	for _, b := range info.Specific.Data.Bitmaps {
		if !strings.HasPrefix(b.Name, prefix) {
			continue
		}
		if _, err := imageTool(ctx, "bitmap", "--remove", "-f", "qcow2", path, b.Name); err != nil {
			return removed, fmt.Errorf("remove bitmap %s from %s: %w", b.Name, path, err)
		}
		removed = append(removed, b.Name)
	}
	return removed, nil
}

func imageTool(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, bitmapsTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-img", args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("qemu-img %s: %s", args[0], strings.TrimSpace(string(exit.Stderr)))
	}
	return out, err
}
