package main

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/backup"
	"github.com/holdfast-backup/holdfast/daemon/restore"
	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/quiesce/libvirt"
)

// wholeMachine is a machine that is made again around its disks. A nil one is none.
type wholeMachine struct {
	o       *restoreOptions
	machine *restore.Machine
	def     *restore.Definition
	host    restore.Definer // nil: nobody is asked
	made    api.RestoredMachine
}

// placesOf is where disks will lie.
func placesOf(jobs []restore.Job) map[string]restore.NewDisk {
	places := map[string]restore.NewDisk{}
	for _, j := range jobs {
		info, path := j.Disk.Info(), j.Target.Path
		if abs, err := filepath.Abs(path); err == nil && j.Target.Kind != restore.NBD {
			path = abs
		}
		places[info.Name] = restore.NewDisk{Path: path, URI: j.Target.Path, Kind: j.Target.Kind, Source: info.Source, Was: info.Format}
	}
	return places
}

// placesIn is where they will lie in the folder.
func (o *restoreOptions) placesIn(disks []restore.Disk) (err error) {
	if o.folder, err = filepath.Abs(o.to); err != nil {
		return err
	}
	var jobs []restore.Job
	for _, d := range disks {
		kind, err := restore.KindOf(d.Info(), o.format)
		if err != nil {
			return err
		}
		path := filepath.Join(o.folder, d.Info().Name+"."+kind.String())
		jobs = append(jobs, restore.Job{Disk: d, Target: restore.Spec{Kind: kind, Path: path}})
	}
	o.places = placesOf(jobs)
	return nil
}

// wanted says whether a whole machine is to be made: when it was asked for, or when all of a point goes
// to a folder.
func (o *restoreOptions) wanted() bool {
	return o.machine != machineOptions{} || o.folder != "" && len(o.targets) == 0
}

// whole prepares the machine, and says what there is to say before anything is written.
func (o *restoreOptions) whole(ctx context.Context, k *console, v *blockstore.Vault, p *blockstore.Point) (*wholeMachine, error) {
	if !o.wanted() {
		return nil, nil
	}
	w := &wholeMachine{o: o, machine: &restore.Machine{
		Disks: o.places, LeftOut: append([]blockstore.LeftOut{}, p.LeftOut...), Config: map[string][]byte{},
		Name: o.machine.name, NewMACs: o.machine.newMACs, Force: o.run.Force,
	}}
	for _, d := range p.Disks {
		if _, restored := o.places[d.Name]; !restored {
			w.machine.LeftOut = append(w.machine.LeftOut, blockstore.LeftOut{Name: d.Name, Reason: "it is not among those that are restored"})
		}
	}
	for _, c := range p.Config {
		data, err := v.ReadConfig(ctx, p, c.Name)
		if err != nil {
			return nil, err
		}
		w.machine.Config[c.Name] = data
	}
	if w.machine.IsDomain() || w.machine.IsCommand() {
		return w, w.prepare(ctx, k)
	}
	other := whereDefined(ctx, v, p)
	switch {
	case o.machine == (machineOptions{}) && other == "":
		return nil, nil
	case o.machine == (machineOptions{}):
		k.say("note: point %s@%s holds no definition of the machine, only its disks; the newest that does is %s", p.MachineName, p.ID, other)
		return nil, nil
	case other == "":
		other = "restore the disks, and define a machine around them"
	default:
		other = "the newest point that holds one is " + other + "; without --define, --name, --new-macs and --start the disks of this one are restored"
	}
	return nil, usagef("point %s@%s holds no definition of the machine, only its disks", p.MachineName, p.ID).hinted("%s", other)
}

// whereDefined names the newest point of p's machine that holds a definition of it; "": there is none.
func whereDefined(ctx context.Context, v *blockstore.Vault, p *blockstore.Point) (point string) {
	points, _ := v.Points(ctx) // those whose records cannot be read hold nothing that helps
	for _, other := range points {
		if other.Machine == p.Machine && slices.ContainsFunc(other.Config, func(c blockstore.ConfigBlob) bool {
			return c.Name == backup.DomainXML || c.Name == backup.CommandLine
		}) {
			point = fmt.Sprintf("%s@%s", other.MachineName, other.ID)
		}
	}
	return point
}

func (w *wholeMachine) prepare(ctx context.Context, k *console) (err error) {
	o := w.o
	if o.machine.define && !w.machine.IsDomain() {
		return usagef("the machine was no domain of libvirt: --define has nothing to define").
			hinted("--to FOLDER/ writes its disks and a script that runs it")
	}
	if err := w.chooseNVRAM(); err != nil {
		return err
	}
	if w.def, err = w.machine.Define(); err != nil {
		if o.machine == (machineOptions{}) { // only the disks and files were asked for
			k.warn(fmt.Sprintf("no definition of the machine is made: %v", err))
			w.def = &restore.Definition{}
			return nil
		}
		return err
	}
	w.made = api.RestoredMachine{Name: w.def.Name, UUID: w.def.UUID, Lacking: []string{}, Notes: append([]string{}, w.def.Notes...)}
	if err := w.lacking(ctx); err != nil {
		return err
	}
	w.addFiles()
	if o.machine.define && o.folder == "" {
		if err := w.machine.CheckState(w.def.UUID); err != nil {
			return err
		}
	}
	if o.machine.dryRun && o.json {
		return k.json(w.made)
	}
	for _, n := range w.made.Notes {
		k.say("note: %s", n)
	}
	for _, l := range w.made.Lacking {
		k.warn("this host lacks " + l)
	}
	if o.machine.start && len(w.made.Lacking) > 0 {
		return service.Hinted(fmt.Errorf("machine %s would not start here", w.def.Name), "make what this host lacks, or leave out --start. Nothing was written")
	}
	if o.machine.dryRun {
		return w.dryRun(k)
	}
	return nil
}

// chooseNVRAM says where the UEFI variables go.
func (w *wholeMachine) chooseNVRAM() error {
	name := w.o.machine.name
	switch {
	case strings.ContainsAny(name, "/\n\x00"):
		return usagef("--name %.64q: a machine cannot be called so", name)
	case w.o.folder != "":
		w.machine.NVRAM = filepath.Join(w.o.folder, "nvram.fd")
	case w.machine.IsDomain():
		if name == "" {
			name = "restored-" + w.o.ref.Machine
		}
		w.machine.NVRAM = filepath.Join("/var/lib/libvirt/qemu/nvram", name+"_VARS.fd")
	}
	return nil
}

// lacking asks what the host lacks.
func (w *wholeMachine) lacking(ctx context.Context) (err error) {
	if !w.machine.IsDomain() {
		w.made.Lacking, err = w.machine.LackingCommand()
		w.made.Lacking = append([]string{}, w.made.Lacking...)
		return err
	}
	if !w.o.machine.define && !w.o.machine.dryRun {
		return nil
	}
	if w.host == nil {
		uri := w.o.machine.uri
		if uri == "" {
			uri = "qemu:///system"
		}
		host, err := libvirt.Connect(ctx, uri)
		if err != nil {
			return err
		}
		w.host = restore.OnLibvirt(host)
	}
	for _, id := range []string{w.def.UUID, w.def.Name} {
		known, err := w.host.Known(ctx, id)
		if err != nil {
			return err
		}
		if known {
			return service.Hinted(fmt.Errorf("libvirt knows a machine %s already: %w", id, fs.ErrExist),
				"give --name NEW to make another one, or --in-place to take that one back. Nothing was written")
		}
	}
	lacking, err := w.host.Lacking(ctx, w.def.Text)
	w.made.Lacking = append(w.made.Lacking, lacking...)
	return err
}

// addFiles puts what the machine is made from beside its disks in the folder.
func (w *wholeMachine) addFiles() {
	o := w.o
	if o.folder == "" {
		return
	}
	o.files = map[string][]byte{}
	if w.machine.IsDomain() {
		o.files["domain.xml"] = []byte(w.def.Text)
	} else {
		o.files["run.sh"] = []byte(w.def.Text)
	}
	if nvram := w.machine.Config["nvram.fd"]; nvram != nil {
		o.files["nvram.fd"] = nvram
	}
	if w.machine.IsDomain() && w.machine.Config["tpm.tar"] != nil && !o.machine.define {
		w.made.Notes = append(w.made.Notes, "the state of its TPM is in config/tpm.tar: before the first start it belongs into /var/lib/libvirt/swtpm/"+w.def.UUID+" (--define does that)")
	}
}

func (w *wholeMachine) dryRun(k *console) error {
	what := "a script that runs it"
	if w.def.Domain {
		what = "domain " + w.def.Name + " (" + w.def.UUID + ")"
	}
	k.printf("would make %s, with\n", what)
	for _, name := range slices.Sorted(maps.Keys(w.o.places)) {
		at := w.o.places[name]
		k.printf("  disk %s: %s (%s)\n", name, at.Path, at.Kind)
	}
	if len(w.made.Lacking) == 0 {
		k.printf("this host lacks nothing that is known of\n")
	}
	return nil
}

// finish makes the machine, once its disks are whole.
func (w *wholeMachine) finish(ctx context.Context, k *console) (*api.RestoredMachine, error) {
	if w == nil || w.def.Text == "" {
		return nil, nil
	}
	o := w.o
	switch {
	case o.folder != "" && w.def.Domain:
		w.made.File = filepath.Join(o.folder, "domain.xml")
		w.made.Command = "virsh define " + shellWord(w.made.File)
	case o.folder != "":
		w.made.File = filepath.Join(o.folder, "run.sh")
		w.made.Command = "sh " + shellWord(w.made.File)
	case !w.def.Domain:
		w.made.Command = strings.TrimSpace(w.def.Text)
	}
	if !o.machine.define {
		return &w.made, nil
	}
	if err := w.define(ctx); err != nil {
		hint := "the disks are restored, and whole"
		if w.made.File != "" {
			hint += "; the definition is " + w.made.File
		}
		return &w.made, service.Hinted(err, hint)
	}
	return &w.made, nil
}

func (w *wholeMachine) define(ctx context.Context) error {
	o := w.o
	if o.folder == "" {
		if jobs := w.machine.State(); len(jobs) > 0 {
			if _, err := restore.Run(ctx, jobs, restore.Options{Force: o.run.Force}); err != nil {
				return fmt.Errorf("restore the UEFI variables: %w", err)
			}
		}
	} else if info, err := os.Stat(o.folder); err == nil && info.Mode().Perm() == 0o700 {
		// QEMU runs as a user of its own, and libvirt gives it the files but not their folder.
		if err := os.Chmod(o.folder, 0o711); err != nil {
			return err
		}
	}
	if _, err := w.machine.RestoreTPM(w.def.UUID); err != nil {
		return err
	}
	if err := w.host.Define(ctx, w.def.Text); err != nil {
		return err
	}
	w.made.Defined = true
	if !o.machine.start {
		return nil
	}
	if err := w.host.Start(ctx, w.def.UUID); err != nil {
		return err
	}
	w.made.Started = true
	return nil
}

func showMade(write func(string, ...any), m *api.RestoredMachine) {
	switch {
	case m == nil:
	case m.Started:
		write("defined and started machine %s (%s)\n", m.Name, m.UUID)
	case m.Defined:
		write("defined machine %s (%s); start it with\n  virsh start %s\n", m.Name, m.UUID, m.UUID)
	case m.File != "":
		write("the machine's definition is in %s; make it with\n  %s\n", m.File, m.Command)
	case m.Command != "":
		write("run the machine with\n%s\n", m.Command)
	}
}

// shellWord is a path as a shell takes it.
func shellWord(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._+-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
