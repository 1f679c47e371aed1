package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const machine = "bench"

// vault is a vault of ours in the store.
type vault struct {
	b    *bench
	path string
}

// newVault makes an empty vault in place of one of that name.
func (b *bench) newVault(ctx context.Context, name string) (*vault, error) {
	v := &vault{b, filepath.Join(b.store, name)}
	if err := os.RemoveAll(v.path); err != nil {
		return nil, err
	}
	_, err := v.run(ctx, "vault", "create", v.path)
	return v, err
}

func (v *vault) command(args ...string) command {
	return command{args: append([]string{v.b.holdfast}, args...), env: []string{"HOLDFAST_VAULT=" + v.path}}
}

func (v *vault) run(ctx context.Context, args ...string) (cost, error) {
	return measure(ctx, v.command(args...))
}

// backup backs the disk up; env is added to the environment.
func (v *vault) backup(ctx context.Context, env ...string) (cost, error) {
	c := v.command("backup", machine, "--disk", "vda="+v.b.image, "--quiet")
	c.env = append(c.env, env...)
	return measure(ctx, c)
}

func (v *vault) restore(ctx context.Context, target string) (cost, error) {
	return v.run(ctx, "restore", machine+"@latest", "--to", target, "--quiet")
}

// stored is what the vault keeps, in bytes: packs, segments, points and all small
// records, but not the index, which can be made from those at any time.
func (v *vault) stored() (int64, error) { return treeSize(v.path, "index", "reserve") }

// mount serves the vault's points and returns the path of the disk's newest.
func (v *vault) mount(ctx context.Context) (*server, string, error) {
	at := v.path + ".mount"
	s, err := serve(ctx, v.command("mount", at, "--quiet"), at)
	return s, filepath.Join(at, machine, "latest", "disks", "vda.raw"), err
}

// save and goBack keep a vault's state and return to it.
func (v *vault) save() error {
	if err := os.RemoveAll(v.path + ".saved"); err != nil {
		return err
	}
	return copyTree(v.path, v.path+".saved", "packs", "segments")
}

// goBack leaves the index, which is not believed in another folder than its
// own, made anew: no part of what is measured.
func (v *vault) goBack(ctx context.Context) error {
	if err := os.RemoveAll(v.path); err != nil {
		return err
	}
	if err := copyTree(v.path+".saved", v.path, "packs", "segments"); err != nil {
		return err
	}
	if _, err := v.run(ctx, "vault", "rebuild-index", "--quiet"); err != nil {
		return fmt.Errorf("rebuild the index of the vault gone back to: %w", err)
	}
	return nil
}

// remove gives the memory of the vault and its saved state back.
func (v *vault) remove() error {
	return removeAll(v.path, v.path+".saved")
}

func removeAll(paths ...string) error {
	for _, p := range paths {
		if err := os.RemoveAll(p); err != nil {
			return err
		}
	}
	return nil
}

// sameFile tells whether a restored disk is the image, so that no figure is of a
// restore that went wrong.
func sameFile(ctx context.Context, a, b string) error {
	_, out, err := measureOutput(ctx, command{args: []string{"cmp", a, b}})
	if err != nil {
		return fmt.Errorf("what was restored differs: %w %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
