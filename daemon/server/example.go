package server

import (
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// Examples for the OpenAPI document. A test holds them against the schemas.
var (
	exampleTime = api.At(time.Date(2026, 11, 22, 22, 0, 5, 0, time.UTC))

	exampleProblem = api.Problem{Status: 403, Title: "Forbidden", Detail: `anna lacks the permission "restore" for web1`,
		Hint: "an admin of the daemon can grant it: `holdfast grant anna restore --machines web1`", Exit: exitRefused, Kind: kindNotGranted}
	exampleVault = api.VaultInfo{Vault: api.Vault{ID: "v7c1e", Name: "main", Path: "/srv/vault", BlockSize: 65536, Codec: "lz4", Created: exampleTime, TrashDays: 14},
		Machines: 1, Points: 30, Oldest: &exampleTime, Newest: &exampleTime, SizeOnDisk: 12 << 30, Free: 300 << 30}
	exampleProtection = api.Protection{Kind: "libvirt", VM: "web1", URI: "qemu:///system", Images: []api.ImageDisk{}, Exclude: []string{},
		Consistency: "filesystem", Otherwise: "fall-back", FreezeTimeout: 10, Mounts: []string{}, Hooks: []api.Hook{}}
	exampleMachine = api.Machine{ID: "m4f0a", Name: "web1", Protected: true, Protection: &exampleProtection, State: "running", Points: 30, Newest: &exampleTime}
	exampleSizes   = api.Sizes{Logical: 20 << 30, Protected: 7 << 30, Changed: 160 << 20, Stored: 61 << 20, Read: 160 << 20}
	examplePoint   = api.Point{ID: "p01c7p2q9", Machine: "web1", MachineID: "m4f0a", Time: exampleTime, Committed: exampleTime, Seq: 30,
		Parent: "p01c6k3r0", Writer: "w9a1", Tool: "holdfast 1.0.0", Consistency: "filesystem", ConsistencyAsked: "filesystem", Sizes: exampleSizes,
		Disks: []api.Disk{{Name: "vda", Size: 20 << 30, Format: "qcow2", Source: "/var/lib/libvirt/images/web1.qcow2", LogicalSector: 512,
			PhysicalSector: 512, Mode: "bitmap", Sizes: exampleSizes}},
		Config: []api.ConfigFile{{Name: "domain.xml", Size: 5120}}, LeftOut: []api.LeftOut{}}
	examplePolicy = api.Policy{Name: "nightly", ID: "c3", Generation: 1, Changed: exampleTime, Globs: []string{"web*"}, Machines: []string{"web1"},
		Schedule: "daily at 22:00", Timezone: "Europe/Berlin", Otherwise: "fall-back", Keep: api.Keep{Daily: 14, Weekly: 8}, NextRun: &exampleTime}
	examplePolicySpec = api.PolicySpec{Name: "nightly", Machines: []string{"web*"}, Schedule: "daily at 22:00", Timezone: "Europe/Berlin",
		Keep: api.Keep{Daily: 14, Weekly: 8}, RPO: "26h"}
	examplePrune = api.Prune{Machine: "web1", MachineID: "m4f0a", Policy: "nightly", Rules: "14 daily, 8 weekly", Dry: true, Kept: 1,
		Points: []api.PrunedPoint{{ID: "p01c7p2q9", Time: exampleTime, Keep: true, Why: []string{"daily 2026-11-22"}}}}
	exampleJob = api.Job{ID: "j01c7p2q9", Kind: api.JobBackup, Vault: "v7c1e", Machine: "web1", State: api.JobRunning, Phase: "read", Done: 80 << 20,
		Total: 160 << 20, Unit: "bytes", Queued: exampleTime, Started: &exampleTime, By: "anna", Attempt: 1, Read: 80 << 20, Changed: 80 << 20,
		Stored: 30 << 20, Rate: 100 << 20, Warnings: []string{}, Notes: []string{}}
	exampleProtect   = api.Protect{Machine: exampleMachine, Plan: []api.DiskPlan{{Name: "vda", Mode: "scan", Reason: "no earlier point", Size: 20 << 30, ToRead: 7 << 30}}, LeftOut: []api.LeftOut{}, Warnings: []string{}}
	exampleUnprotect = api.Unprotect{Machine: exampleMachine, Removed: []string{"checkpoint holdfast-v7c1e-p01c7p2q9"}}
	exampleHold      = api.MachineHold{Machines: []string{"web1"}, Until: &exampleTime}
	exampleGrant     = api.Grant{Who: "anna", Role: "restorer", Machines: []string{"web*"}, Since: &exampleTime, By: "root"}
	exampleToken     = api.Token{Name: "grafana", Created: exampleTime, By: "root", LastUsed: &exampleTime, LastFrom: "192.0.2.7:40112",
		Grants: []api.Grant{{Who: "token:grafana", Role: "viewer", Machines: []string{"*"}, Since: &exampleTime, By: "root"}}}
	exampleWho   = api.WhoAmI{Name: "anna", Groups: []string{"group:holdfast"}, From: "process 4711 of user 1000", Grants: []api.Grant{exampleGrant}}
	exampleEntry = api.AuditEntry{Time: exampleTime, Who: "anna", From: "process 4711 of user 1000", Action: "change-points", Vault: "main",
		Machine: "web1", Object: "delete web1@latest", Outcome: api.AuditRefused, Detail: `anna lacks the permission "delete" for web1`}
	exampleStatus = api.Status{Time: exampleTime, Host: "kvm1", Reasons: []string{}, Warnings: []string{}, Ignored: []string{}, VMs: []api.UnprotectedVM{},
		Vaults: []api.VaultStatus{{Vault: exampleVault.Vault, Reasons: []string{}, Warnings: []string{}, Machines: 1, Points: 30, Stored: 12 << 30, Free: 300 << 30, Size: 500 << 30}},
		Machines: []api.MachineStatus{{Name: "web1", ID: "m4f0a", Vault: "main", Policy: "nightly", State: "running", Protected: true, Reasons: []string{}, Warnings: []string{},
			Points: 30, Good: &api.PointBrief{ID: "p01c7p2q9", Time: exampleTime, Consistency: "filesystem", Asked: "filesystem", Mode: "bitmap"}, Objective: 93600, Next: &exampleTime}}}
	exampleUsage = api.Usage{Vault: exampleVault.Vault, Time: exampleTime, Months: []api.MonthUsage{{Month: "2026-11", Partial: true, Instances: 1, Protected: 7 << 30, Stored: 2 << 30,
		Machines: []api.MachineUsage{{Machine: "web1", MachineID: "m4f0a", Instances: 1, Protected: 7 << 30, Points: 22, Kept: 22, Stored: 2 << 30}}}}}

	exampleGuestTime = time.Date(2026, 11, 22, 21, 4, 11, 123456789, time.UTC)
	exampleVolumes   = api.GuestVolumes{Point: "p01c7p2q9", Notes: []string{}, Volumes: []api.GuestVolume{{Name: "vda1", Type: "ext4", UUID: "3b1f9c52-6a0e-4f7b-9c55-0a1d2e3f4a5b",
		Size: 20 << 30, Journal: "replayed", MountedAt: []string{"/"}, Disk: "vda", Readable: true, Notes: []string{},
		Partition: &api.GuestPartition{Scheme: "gpt", Number: 1, Offset: 1 << 20, Type: "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", UUID: "0f6f6a35-6c5b-4e0c-8f8e-0a7cf5a3a5d1"}}},
		Root: &api.GuestRoot{Volume: "vda1", Notes: []string{}, Mounts: []api.GuestMount{{At: "/srv", Device: "/dev/vdb1", Error: "/srv (/dev/vdb1) is not in this point: vdb was left out (it is on NFS)"}}}}
	exampleFile = api.GuestFile{Name: "passwd", Path: "/etc/passwd", Volume: "vda1", Inode: 131, Type: "file", Mode: "0644", Permissions: "-rw-r--r--", Links: 1,
		Size: 1542, Modified: &exampleGuestTime}
	exampleFolder = api.GuestFolder{Point: "p01c7p2q9", Entries: []api.GuestFile{exampleFile}, Next: "p01c7p2q9.17.passwd",
		Folder: api.GuestFile{Name: "etc", Path: "/etc", Volume: "vda1", Inode: 12, Type: "folder", Mode: "0755", Permissions: "drwxr-xr-x", Links: 92, Size: 4096, Modified: &exampleGuestTime}}
)
