package qemu

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// refusedBy asks for a snapshot that must not be made, and holds that nothing is left of it.
func (v *vm) refusedBy(want error) {
	v.t.Helper()
	q := SnapshotRequest{Disks: both(), Parent: bitmapOf("p1"), Point: bitmapOf("p2"), Scratch: v.scratch}
	if s, err := v.m.Snapshot(v.t.Context(), q); !errors.Is(err, want) {
		v.t.Errorf("%v, want %v", err, want)
		if s != nil {
			s.Release(context.Background(), false)
		}
	}
	v.nothingLeft(false, q)
}

func TestAMachineThatOthersWorkOnIsLeftAlone(t *testing.T) {
	v := boot(t, twoDisks(t))
	v.release(v.snapshot(SnapshotRequest{Disks: both(), Point: bitmapOf("p1")}), true)

	v.do("blockdev-add", object{"driver": "null-co", "node-name": "target", "size": 64 << 20}, nil)
	v.do("blockdev-backup", object{"job-id": "theirs", "device": "n-two", "target": "target", "sync": "none"}, nil)
	v.refusedBy(ErrInUse)
	v.do("job-cancel", object{"id": "theirs"}, nil)

	v.do("migrate-set-capabilities", object{"capabilities": []object{{"capability": "pause-before-switchover", "state": true}}}, nil)
	v.do("migrate", object{"uri": "exec:cat >/dev/null"}, nil) // which waits before its end
	v.refusedBy(ErrInUse)
	v.do("migrate_cancel", nil, nil)
	for range 1000 {
		if v.m.migrating(t.Context(), runState{}) == nil {
			break
		}
		pause(t.Context(), shortWait)
	}
	s := v.snapshot(SnapshotRequest{Disks: both(), Parent: bitmapOf("p1"), Point: bitmapOf("p2")})
	for _, d := range s.Disks {
		if d.Mode != ModeBitmap {
			t.Errorf("%s: %s", d.Name, d.Reason)
		}
	}
	v.release(s, true)
}

func TestABitmapInDoubtIsReplacedAndSaidSo(t *testing.T) {
	v := boot(t, twoDisks(t))
	for want, spoil := range map[string]func(){
		"had stopped": func() { v.do("block-dirty-bitmap-disable", object{"node": "n-one", "name": bitmapOf("p1")}, nil) },
		"gone":        func() { v.do("block-dirty-bitmap-remove", object{"node": "n-one", "name": bitmapOf("p1")}, nil) },
		"units of 131072": func() {
			v.do("block-dirty-bitmap-remove", object{"node": "n-one", "name": bitmapOf("p1")}, nil)
			v.do("block-dirty-bitmap-add", object{"node": "n-one", "name": bitmapOf("p1"), "granularity": 131072}, nil)
		},
	} {
		if _, err := v.m.Clean(t.Context(), CleanRequest{Vault: testVault, Scratch: v.scratch}); err != nil {
			t.Fatal(err)
		}
		v.release(v.snapshot(SnapshotRequest{Disks: both(), Point: bitmapOf("p1")}), true)
		spoil()
		v.io("one", "write -P 9 1M 64k")
		s := v.snapshot(SnapshotRequest{Disks: both(), Parent: bitmapOf("p1"), Point: bitmapOf("p2")})
		if d := s.Disks[0]; d.Mode != ModeScan || !strings.Contains(d.Reason, want) {
			t.Errorf("%s: %s, %q", want, d.Mode, d.Reason)
		}
		if d := s.Disks[1]; d.Mode != ModeBitmap {
			t.Errorf("the other disk: %s", d.Reason)
		}
		v.release(s, true)
		s = v.snapshot(SnapshotRequest{Disks: both(), Parent: bitmapOf("p2"), Point: bitmapOf("p3")})
		if d := s.Disks[0]; d.Mode != ModeBitmap {
			t.Errorf("after %s: %s", want, d.Reason)
		}
		v.release(s, true)
	}
}

// An external snapshot puts a new image above the old one, bitmap and all.
func TestAnExternalSnapshotMeansAScan(t *testing.T) {
	v := boot(t, twoDisks(t))
	image := make([]byte, 64<<20)
	v.fill("one", 0, 1<<20, 1, image)
	v.release(v.snapshot(SnapshotRequest{Disks: both(), Point: bitmapOf("p1")}), true)
	before, _ := v.m.Disks(t.Context())
	v.do("blockdev-snapshot-sync", object{"node-name": "n-one", "snapshot-node-name": "n-over", "snapshot-file": v.folder + "/over.qcow2", "format": "qcow2"}, nil)
	v.fill("one", 2<<20, 1<<20, 2, image)
	after, err := v.m.Disks(t.Context())
	if err != nil || before[0].Identity() == after[0].Identity() || len(after[0].Chain) != 2 {
		t.Errorf("%v: %+v", err, after[0].Chain)
	}
	s := v.snapshot(SnapshotRequest{Disks: both(), Parent: bitmapOf("p1"), Point: bitmapOf("p2")})
	if d := s.Disks[0]; d.Mode != ModeScan || d.Reason == "" {
		t.Errorf("%s: %s", d.Mode, d.Reason)
	}
	same(t, "vda", content(t, s.Disks[0], nil), image)
	v.release(s, true)
	s = v.snapshot(SnapshotRequest{Disks: both(), Parent: bitmapOf("p2"), Point: bitmapOf("p3")})
	if d := s.Disks[0]; d.Mode != ModeBitmap {
		t.Errorf("%s", d.Reason)
	}
	v.release(s, true)
}

func TestADiskThatIsUnpluggedMeanwhileIsReadToTheEnd(t *testing.T) {
	v := boot(t, func(f string) []string {
		return append(twoDisks(t)(f), "-device", "qemu-xhci,id=usb", "-blockdev",
			"driver=raw,node-name=n-stick,file.driver=file,file.filename="+f+"/one.qcow2,read-only=on,file.locking=off",
			"-device", "usb-storage,id=stick,drive=n-stick,bus=usb.0")
	})
	disks := append(both(), DiskRequest{Name: "sda"})
	s := v.snapshot(SnapshotRequest{Disks: disks, Point: bitmapOf("p1")})
	v.do("device_del", object{"id": "stick"}, nil)
	if d := s.Disks[2]; d.Mode != ModeScan || !strings.Contains(d.Reason, "first") {
		t.Errorf("%s %q", d.Mode, d.Reason)
	}
	whole(t, s.Disks[2])
	v.release(s, true)
	left, err := v.m.Disks(t.Context())
	if err != nil || len(left) != 2 {
		t.Errorf("%v, %+v", err, left)
	}
}

func TestScratchFilesOfAQEMUThatIsGoneAreRemovedByAnyRun(t *testing.T) {
	v := boot(t, twoDisks(t))
	dead := filepath.Join(v.scratch.Folder, "vm-0123456789ab")
	alive := filepath.Join(v.scratch.Folder, "vm-ba9876543210")
	for path, text := range map[string]string{dead: `{"qemuPid":4194303,"qemuStart":"1","bootID":"x"}`, alive: `{"qemuPid":0}`} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		os.WriteFile(filepath.Join(path, "scratch-0"), []byte("x"), 0o600)
		os.WriteFile(path+lockSuffix, []byte(text), 0o600)
	}
	s := v.snapshot(SnapshotRequest{Disks: both(), Point: bitmapOf("p1")})
	if err := s.Release(context.Background(), true); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]bool{dead: false, alive: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestADiskThatAnotherJobWorksOnIsInUseAndNothingIsLeftInIt(t *testing.T) {
	v := boot(t, twoDisks(t))
	v.do("drive-mirror", object{"job-id": "theirs", "device": "n-one", "target": v.folder + "/copy.raw", "format": "raw", "sync": "full"}, nil)
	_, err := v.m.Snapshot(t.Context(), SnapshotRequest{Disks: both(), Point: bitmapOf("p1"), Scratch: v.scratch})
	if !errors.Is(err, ErrInUse) {
		t.Errorf("%v", err)
	}
	left, err := v.m.Leftovers(t.Context(), CleanRequest{Vault: testVault, Scratch: v.scratch})
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	v.do("block-job-cancel", object{"device": "theirs"}, nil)
}
