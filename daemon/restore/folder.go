package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// configFolder is where configuration files go in a restored folder, as in a
// mount.
const configFolder = "config"

// FolderJob is a whole point and the folder it goes to.
type FolderJob struct {
	Path   string            // must not exist or be an empty folder, unless forced
	Disks  []Disk            // each becomes NAME.raw or NAME.qcow2
	Config map[string][]byte // becomes config/NAME
	Files  map[string][]byte // becomes NAME
	Format string            // raw or qcow2 for all disks; empty: each as its source was
}

// Folder restores all disks and the configuration of a point to a folder. A new
// folder is filled under a hidden name beside it and then renamed; into one that
// exists every file is written under a hidden name, and all are renamed at the end.
// Folders that it makes are open to their owner alone.
func Folder(ctx context.Context, f FolderJob, o Options) (Result, error) {
	path := filepath.Clean(f.Path)
	isNew, err := checkFolder(f.Path, o)
	if err != nil {
		return Result{}, err
	}
	if !isNew {
		return f.into(ctx, path, path, o)
	}
	swept := sweepLeftovers(path)
	stage, err := os.MkdirTemp(filepath.Dir(path), hiddenName(filepath.Base(path), ""))
	if err != nil {
		return Result{}, fmt.Errorf("make a folder beside %s: %w", path, err)
	}
	lock, err := claimFolder(stage)
	if err != nil {
		return Result{}, fmt.Errorf("keep the folder beside %s: %w", path, err)
	}
	defer lock.Close()
	res, err := f.into(ctx, stage, path, o)
	if len(res.Disks) > 0 {
		res.Disks[0].Notes = append(swept, res.Disks[0].Notes...)
	}
	if err == nil {
		err = renameNew(stage, path)
		if errors.Is(err, fs.ErrExist) {
			err = existsError(path + " (it appeared meanwhile)")
		}
	}
	if err != nil {
		res.undone()
		if e := os.RemoveAll(stage); e != nil {
			err = errors.Join(err, fmt.Errorf("remove the unfinished folder: %w", e))
		}
		return res, err
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return res, fmt.Errorf("%s is in place, but may be gone after a power failure: %w", path, err)
	}
	return res, nil
}

// checkFolder tells whether the folder is yet to be made, and refuses one that
// must not be written to.
func checkFolder(path string, o Options) (isNew bool, err error) {
	if path == "" {
		return false, errors.New("no folder to restore to is named")
	}
	path = filepath.Clean(path) // Lstat follows a link before a slash
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := checkHome(filepath.Dir(path)); err != nil {
			return false, err
		}
		return true, refuseVaultFolder(filepath.Dir(path), o.VaultPath)
	}
	if err != nil {
		return false, err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return false, fmt.Errorf("%s is a symbolic link: name the folder itself", path)
	}
	if !info.IsDir() {
		return false, fmt.Errorf("%s is not a folder: %w", path, fs.ErrExist)
	}
	if err := refuseDevices(path); err != nil {
		return false, err
	}
	if err := refuseVaultFolder(path, o.VaultPath); err != nil || o.Force {
		return false, err
	}
	entries, err := os.ReadDir(path)
	if err == nil && len(entries) > 0 {
		err = existsError(fmt.Sprintf("folder %s holds %s", path, entries[0].Name()))
	}
	return false, err
}

// into restores to files in a folder that exists and will be called final.
func (f FolderJob) into(ctx context.Context, path, final string, o Options) (Result, error) {
	jobs, err := f.jobs(path, final)
	if err != nil {
		return Result{}, err
	}
	if len(f.Config) > 0 {
		undo, err := makeFolder(filepath.Join(path, configFolder))
		if err != nil {
			return Result{}, err
		}
		defer undo()
	}
	if len(jobs) == 0 {
		return Result{}, nil
	}
	res, err := Run(ctx, jobs, o)
	if err == nil {
		err = syncFolder(path)
	}
	return res.splitConfig(len(f.Disks)), err
}

// makeFolder makes a folder unless it exists. The returned undo removes it again
// if it was made and is still empty.
func makeFolder(path string) (undo func(), err error) {
	err = os.Mkdir(path, 0o700)
	if err == nil {
		return func() { os.Remove(path) }, nil // fails when something is in it, as it should
	}
	if info, e := os.Lstat(path); e == nil && info.IsDir() {
		return func() {}, nil
	}
	return nil, err
}

// jobs are those of the disks, then those of the configuration in order of names.
func (f FolderJob) jobs(path, final string) ([]Job, error) {
	var jobs []Job
	add := func(d Disk, kind Kind, name string) {
		jobs = append(jobs, Job{d, Spec{Kind: kind, Path: filepath.Join(path, name), show: filepath.Join(final, name)}})
	}
	for _, d := range f.Disks {
		info := d.Info()
		if err := blockstore.CheckDiskName(info.Name); err != nil {
			return nil, err
		}
		kind, err := KindOf(info, f.Format)
		if err != nil {
			return nil, fmt.Errorf("restore disk %s: %w", info.Name, err)
		}
		add(d, kind, info.Name+"."+kind.String())
	}
	for _, name := range slices.Sorted(maps.Keys(f.Config)) {
		if err := blockstore.CheckConfigName(name); err != nil {
			return nil, err
		}
		add(memoryDisk{name, f.Config[name]}, Raw, filepath.Join(configFolder, name))
	}
	for _, name := range slices.Sorted(maps.Keys(f.Files)) {
		if err := blockstore.CheckConfigName(name); err != nil {
			return nil, err
		}
		add(memoryDisk{name, f.Files[name]}, Raw, name)
	}
	return jobs, nil
}

// splitConfig tells disks from the configuration files that follow them.
func (r Result) splitConfig(disks int) Result {
	if len(r.Disks) <= disks {
		return r
	}
	for _, c := range r.Disks[disks:] {
		if c.Done {
			r.Config = append(r.Config, c.Target)
		}
	}
	r.Disks = r.Disks[:disks]
	return r
}

// undone says that nothing is there after all.
func (r *Result) undone() {
	for i := range r.Disks {
		r.Disks[i].Done = false
	}
	r.Config = nil
}
