package service_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

var instant = time.Date(2026, 11, 22, 23, 0, 5, 987654321, time.FixedZone("CET", 3600))

// The text is what programs rely on: change it only by adding to it.
func TestAPointIsShownInItsStableForm(t *testing.T) {
	t.Parallel()
	p := &blockstore.Point{
		ID: "p0123456789abcdef", Machine: "00112233445566aa", MachineName: "web1", Seq: 7, Parent: "pfedcba9876543210",
		Time: instant, Committed: instant.Add(time.Minute), Writer: "aabbccddeeff0011", Tool: "holdfast 1.0",
		Asked: blockstore.Filesystem, Reached: blockstore.Crash, Reason: "no agent",
		Disks: []blockstore.DiskInfo{{
			Name: "vda", Size: 10 << 30, LogicalSector: 512, PhysicalSector: 4096, Format: "qcow2", Source: "/vms/web1.qcow2",
			Identity: "secret", Serial: "S1", Bus: "virtio", BootOrder: 1,
			Sizes: blockstore.Sizes{Logical: 10 << 30, Protected: 5, Changed: 4, Stored: 3, Read: 2},
		}},
		LeftOut: []blockstore.LeftOut{{Name: "vdb", Size: 9, Reason: "scratch"}},
		Config:  []blockstore.ConfigBlob{{Name: "domain.xml", Size: 100}},
		Sizes:   blockstore.Sizes{Logical: 10 << 30, Protected: 5, Changed: 4, Stored: 3, Read: 2},
	}
	got, err := json.MarshalIndent(service.DescribePoint(p), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want := `{
 "id": "p0123456789abcdef",
 "machine": "web1",
 "machine_id": "00112233445566aa",
 "time": "2026-11-22T22:00:05Z",
 "committed": "2026-11-22T22:01:05Z",
 "seq": 7,
 "parent": "pfedcba9876543210",
 "writer": "aabbccddeeff0011",
 "tool": "holdfast 1.0",
 "consistency": "crash",
 "consistency_asked": "filesystem",
 "consistency_reason": "no agent",
 "sizes": {
  "logical": 10737418240,
  "protected": 5,
  "changed": 4,
  "stored": 3,
  "read": 2
 },
 "disks": [
  {
   "name": "vda",
   "size": 10737418240,
   "format": "qcow2",
   "source": "/vms/web1.qcow2",
   "logical_sector": 512,
   "physical_sector": 4096,
   "serial": "S1",
   "bus": "virtio",
   "boot_order": 1,
   "sizes": {
    "logical": 10737418240,
    "protected": 5,
    "changed": 4,
    "stored": 3,
    "read": 2
   }
  }
 ],
 "config": [
  {
   "name": "domain.xml",
   "size": 100
  }
 ],
 "left_out": [
  {
   "name": "vdb",
   "size": 9,
   "reason": "scratch"
  }
 ]
}`
	if string(got) != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestListsAreNeverNull(t *testing.T) {
	t.Parallel()
	for _, v := range []any{
		service.DescribePoints(nil), service.DescribePoint(&blockstore.Point{}),
		service.DescribeCheck(&blockstore.CheckReport{Faults: []blockstore.Fault{{}}}, true),
		service.DescribeCheck(&blockstore.CheckReport{}, true),
	} {
		if b, err := json.Marshal(v); err != nil || strings.Contains(string(b), "null") {
			t.Errorf("%s, %v", b, err)
		}
	}
}

func TestTimesSurviveTheWire(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(api.VaultInfo{Vault: api.Vault{Created: api.At(instant)}})
	if err != nil || !strings.Contains(string(b), `"created":"2026-11-22T22:00:05Z"`) {
		t.Fatalf("%s, %v", b, err)
	}
	var back api.VaultInfo
	if err := json.Unmarshal(b, &back); err != nil || !back.Created.Equal(instant.Truncate(time.Second)) {
		t.Errorf("%v, %v", back.Created, err)
	}
	for _, bad := range []string{`1`, `""`, `"yesterday"`, `null`, `"`, `{}`} {
		var x api.Time
		if err := x.UnmarshalJSON([]byte(bad)); err == nil {
			t.Errorf("%s is read as %v", bad, x)
		}
	}
}
