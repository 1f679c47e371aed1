package main

import (
	"context"
	"os"
	"path/filepath"
)

// borg is a repository of borg in the store, with caches of its own.
type borg struct {
	b          *bench
	repo, base string
}

// newBorg makes an empty repository, or returns nil when borg is not installed.
func (b *bench) newBorg(ctx context.Context) (*borg, error) {
	if b.borgPath == "" {
		return nil, nil
	}
	r := &borg{b, filepath.Join(b.store, "borg"), filepath.Join(b.store, "borg.base")}
	if err := removeAll(r.repo, r.base); err != nil {
		return nil, err
	}
	_, err := measure(ctx, r.command("", "init", "-e", "none", r.repo))
	return r, err
}

func (r *borg) command(dir string, args ...string) command {
	return command{
		args: append([]string{r.b.borgPath}, args...), dir: dir,
		env: []string{"BORG_BASE_DIR=" + r.base, "BORG_RELOCATED_REPO_ACCESS_IS_OK=yes",
			"BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes"},
	}
}

// create backs the disk up as an archive, as the promises say: LZ4, holes, fixed chunks.
func (r *borg) create(ctx context.Context, archive string) (cost, error) {
	return measure(ctx, r.command(filepath.Dir(r.b.image), "create", "-C", "lz4", "--sparse",
		"--chunker-params=fixed,65536", r.repo+"::"+archive, filepath.Base(r.b.image)))
}

// extract restores an archive into a folder.
func (r *borg) extract(ctx context.Context, archive, folder string) (cost, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return cost{}, err
	}
	return measure(ctx, r.command(folder, "extract", "--sparse", r.repo+"::"+archive))
}

// mount serves an archive and returns the path of the disk in it.
func (r *borg) mount(ctx context.Context, archive string) (*server, string, error) {
	at := r.repo + ".mount"
	s, err := serve(ctx, r.command("", "mount", "-f", r.repo+"::"+archive, at), at)
	return s, filepath.Join(at, filepath.Base(r.b.image)), err
}

func (r *borg) stored() (int64, error) { return treeSize(r.repo) }

func (r *borg) save() error {
	if err := removeAll(r.repo+".saved", r.base+".saved"); err != nil {
		return err
	}
	if err := copyTree(r.base, r.base+".saved"); err != nil {
		return err
	}
	return copyTree(r.repo, r.repo+".saved", "data")
}

func (r *borg) goBack() error {
	if err := r.removeCurrent(); err != nil {
		return err
	}
	if err := copyTree(r.base+".saved", r.base); err != nil {
		return err
	}
	return copyTree(r.repo+".saved", r.repo, "data")
}

func (r *borg) removeCurrent() error { return removeAll(r.repo, r.base) }

func (r *borg) remove() error {
	return removeAll(r.repo, r.base, r.repo+".saved", r.base+".saved")
}

// restic runs restic on a repository in the store.
func (b *bench) resticRun(ctx context.Context, args ...string) (cost, error) {
	repo := filepath.Join(b.store, "restic")
	return measure(ctx, command{
		args: append([]string{b.restPath, "--quiet", "--cache-dir", repo + ".cache", "--repo", repo}, args...),
		env:  []string{"RESTIC_PASSWORD=bench"},
	})
}
