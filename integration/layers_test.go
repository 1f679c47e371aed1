package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/holdfast-backup/holdfast"

// arrows says which of our packages a package may import; a row ends with what
// lies below it. A package that is not listed may import none and be imported by
// none.
var arrows = map[string][]string{
	"cmd/holdfast": {"daemon", "daemon/catalogue", "daemon/strict", "daemon/service", "daemon/jobs", "daemon/server", "daemon/access", "daemon/config", "daemon/status", "daemon/notify", "daemon/metrics",
		"daemon/backup", "daemon/restore", "daemon/history", "daemon/portal", "daemon/policy", "daemon/api", "daemon/far",
		"fusefs", "fusefs/guestfs", "fusefs/guestfs/extract", "fusefs/guestfs/tree", // guests' files without a mount
		"quiesce", "quiesce/image", "quiesce/qemu", "quiesce/libvirt", "blockstore"},

	"daemon": {"daemon/smallfile", "daemon/strict", "quiesce/procs", "quiesce/qga", "quiesce/qmp", "daemon/service", "daemon/jobs", "daemon/server", "daemon/access", "daemon/config", "daemon/status",
		"daemon/notify", "daemon/metrics", "daemon/backup", "daemon/restore", "daemon/portal", "daemon/policy", "daemon/api",
		"fusefs", "quiesce", "quiesce/image", "quiesce/qemu", "quiesce/libvirt", "blockstore"},
	"daemon/service": {"daemon/catalogue", "daemon/smallfile", "daemon/strict", "quiesce/procs", "quiesce/qga", "quiesce/qmp", "daemon/jobs", "daemon/status", "daemon/backup", "daemon/restore", "daemon/history", "daemon/policy", "daemon/api",
		"fusefs", "fusefs/guestfs", "fusefs/guestfs/extract", "fusefs/guestfs/tree", "quiesce", "quiesce/image", "quiesce/qemu", "quiesce/libvirt", "blockstore"},
	"daemon/jobs":      {"daemon/smallfile", "daemon/api"},
	"daemon/access":    {"daemon/smallfile", "daemon/api"},
	"daemon/config":    {"daemon/strict", "daemon/policy", "daemon/api"},
	"daemon/strict":    {},
	"daemon/smallfile": {},
	"daemon/notify":    {"daemon/smallfile", "daemon/api"},
	"daemon/metrics":   {"daemon/smallfile", "daemon/api"},
	"daemon/server":    {"daemon/api", "daemon/access"},
	"daemon/status":    {"daemon/api", "daemon/policy"},
	"daemon/backup":    {"quiesce/procs", "quiesce/qga", "quiesce/qmp", "daemon/policy", "daemon/api", "quiesce", "quiesce/image", "quiesce/qemu", "quiesce/libvirt", "blockstore"},
	"daemon/restore":   {"daemon/api", "fusefs", "quiesce", "quiesce/image", "quiesce/qemu", "quiesce/libvirt", "quiesce/nbd", "blockstore"},
	"daemon/history":   {"daemon/api", "fusefs", "fusefs/guestfs", "fusefs/guestfs/tree", "blockstore"},
	"daemon/far":       {"daemon/api", "fusefs", "blockstore"}, // a vault that a daemon reads for who may not open it
	"daemon/portal":    {"daemon/api"},
	"daemon/policy":    {},
	"daemon/api":       {},

	// Names of files at each point.
	"daemon/catalogue": {"daemon/api", "fusefs", "fusefs/guestfs", "fusefs/guestfs/tree", "blockstore"},

	"fusefs": {"fusefs/guestfs", "fusefs/guestfs/tree", "daemon/api", "blockstore"},
	// Adding a file system is a row here, a folder and a line in guestfs.
	"fusefs/guestfs": {"fusefs/guestfs/tree", "fusefs/guestfs/part", "fusefs/guestfs/lvm", "fusefs/guestfs/luks", "fusefs/guestfs/bitlocker", "fusefs/guestfs/mdraid", "fusefs/guestfs/raid",
		"fusefs/guestfs/ext", "fusefs/guestfs/xfs", "fusefs/guestfs/ntfs", "fusefs/guestfs/fat", "fusefs/guestfs/btrfs",
		"fusefs/guestfs/exfat", "fusefs/guestfs/udf", "fusefs/guestfs/iso9660", "fusefs/guestfs/squashfs", "fusefs/guestfs/registry", "fusefs/guestfs/wtf8"},
	// Copies of guest files that leave nothing outside their target; archives of them.
	"fusefs/guestfs/extract": {"fusefs/guestfs", "fusefs/guestfs/tree", "blockstore"}, // whose damage it tells
	// Trees in memory, images and tools for tests.
	"fusefs/guestfs/tree/treetest": {"fusefs/guestfs/tree", "integration/needs"},
	"fusefs/guestfs/tree":          {},
	"fusefs/guestfs/part":          {},
	"fusefs/guestfs/lvm":           {"fusefs/guestfs/raid", "fusefs/guestfs/thin"},
	"fusefs/guestfs/thin":          {},
	"fusefs/guestfs/mdraid":        {"fusefs/guestfs/raid"},
	"fusefs/guestfs/raid":          {}, // the arithmetic of both
	"fusefs/guestfs/luks":          {},
	"fusefs/guestfs/ext":           {"fusefs/guestfs/tree"},
	"fusefs/guestfs/xfs":           {"fusefs/guestfs/tree"},
	"fusefs/guestfs/btrfs":         {"fusefs/guestfs/tree", "fusefs/guestfs/lately"},
	"fusefs/guestfs/ntfs":          {"fusefs/guestfs/ntfs/wof", "fusefs/guestfs/tree", "fusefs/guestfs/lately", "fusefs/guestfs/wtf8"},
	"fusefs/guestfs/fat":           {"fusefs/guestfs/tree", "fusefs/guestfs/clusters", "fusefs/guestfs/lately", "fusefs/guestfs/wtf8"},
	"fusefs/guestfs/exfat":         {"fusefs/guestfs/tree", "fusefs/guestfs/clusters", "fusefs/guestfs/lately", "fusefs/guestfs/wtf8"},
	"fusefs/guestfs/iso9660":       {"fusefs/guestfs/tree", "fusefs/guestfs/lately", "fusefs/guestfs/wtf8"},
	"fusefs/guestfs/squashfs":      {"fusefs/guestfs/tree", "fusefs/guestfs/lately"},
	"fusefs/guestfs/udf":           {"fusefs/guestfs/tree", "fusefs/guestfs/lately", "fusefs/guestfs/wtf8"},
	// In which letters of Windows' drives stand.
	"fusefs/guestfs/registry":                {"fusefs/guestfs/tree", "fusefs/guestfs/wtf8"},
	"fusefs/guestfs/bitlocker":               {},
	"fusefs/guestfs/bitlocker/bitlockertest": {}, // makes volumes for tests
	"fusefs/guestfs/ntfs/wof":                {},
	"fusefs/guestfs/ntfs/wof/woftest":        {"fusefs/guestfs/ntfs/wof"}, // compresses for tests
	// What several readers need.
	"fusefs/guestfs/clusters": {"fusefs/guestfs/tree", "fusefs/guestfs/lately"}, // of FAT and exFAT
	"fusefs/guestfs/lately":   {},
	"fusefs/guestfs/wtf8":     {},

	"quiesce":         {"quiesce/qga", "quiesce/qemu", "quiesce/qmp", "quiesce/libvirt", "quiesce/image", "quiesce/nbd", "blockstore"},
	"quiesce/libvirt": {"quiesce/qemu", "quiesce/qga", "quiesce/qmp", "quiesce/nbd", "blockstore"},
	"quiesce/qemu":    {"quiesce/qmp", "quiesce/nbd", "blockstore"},
	"quiesce/image":   {"quiesce/nbd", "blockstore"},
	"quiesce/qmp":     {},
	"quiesce/qga":     {},
	// A scripted agent for tests.
	"quiesce/qga/agenttest": {},
	"quiesce/nbd":           {"blockstore"},
	"quiesce/procs":         {},

	"blockstore": {"blockstore/content", "blockstore/pack", "blockstore/segment", "blockstore/diskmap",
		"blockstore/index", "blockstore/backend", "blockstore/keyring"},
	"blockstore/pack":    {"blockstore/content"},
	"blockstore/segment": {"blockstore/content"},
	"blockstore/diskmap": {"blockstore/content"},
	"blockstore/index":   {"blockstore/content"},
	"blockstore/backend": {"blockstore/content"},
	"blockstore/keyring": {"blockstore/content"},
	"blockstore/content": {},

	"integration": {},
	"integration/bench": {"integration/bench/memfs", "integration/bench/slowfs", "integration/guest", "quiesce/qga", "quiesce/qmp",
		"blockstore", "blockstore/content", "blockstore/pack", "daemon/api"},
	"integration/bench/slowfs":  {},
	"integration/bench/memfs":   {},
	"integration/guest":         {"integration/guest/journal", "integration/needs"},
	"integration/guest/journal": {},
	"integration/guest/writer":  {"integration/guest/journal"},
	"integration/power":         {},
	"integration/alone":         {},
	"integration/needs":         {}, // which all tests may import
}

// testOwners are modules that the tests of a package may import as well.
var testOwners = map[string][]string{
	// A second reader, written from FORMAT.md, that uses none of our code.
	"blockstore": {"github.com/pierrec/lz4/v4", "github.com/zeebo/blake3"},
	// What a real parser makes of the text.
	"daemon/metrics": {"github.com/prometheus/client_model"},
}

// testArrows are what the tests of a package may import beyond its arrows.
var testArrows = map[string][]string{
	"integration/power": {"blockstore", "integration/alone"},

	// Mounts of their own.
	"fusefs/guestfs/ext":   {"fusefs/guestfs/tree/treetest", "integration/alone"},
	"fusefs/guestfs/xfs":   {"fusefs/guestfs/tree/treetest", "integration/alone"},
	"fusefs/guestfs/btrfs": {"fusefs/guestfs/tree/treetest", "integration/alone"},

	"daemon/service":          {"fusefs/guestfs/tree/treetest"},
	"fusefs":                  {"fusefs/guestfs/tree", "fusefs/guestfs/tree/treetest", "integration/alone"},
	"fusefs/guestfs":          {"fusefs/guestfs/tree/treetest", "fusefs/guestfs/bitlocker/bitlockertest"},
	"fusefs/guestfs/extract":  {"fusefs/guestfs/tree/treetest"},
	"fusefs/guestfs/fat":      {"fusefs/guestfs/tree/treetest"},
	"fusefs/guestfs/iso9660":  {"fusefs/guestfs/tree/treetest"},
	"fusefs/guestfs/ntfs":     {"fusefs/guestfs/tree/treetest", "fusefs/guestfs/ntfs/wof/woftest"},
	"fusefs/guestfs/udf":      {"fusefs/guestfs/tree/treetest"},
	"fusefs/guestfs/registry": {"fusefs/guestfs/tree/treetest"},
	"fusefs/guestfs/exfat":    {"fusefs/guestfs/tree/treetest", "integration/alone"},
	"fusefs/guestfs/squashfs": {"fusefs/guestfs/tree/treetest", "integration/alone"},

	"fusefs/guestfs/ntfs/wof":  {"fusefs/guestfs/ntfs/wof/woftest"},
	"fusefs/guestfs/bitlocker": {"fusefs/guestfs/bitlocker/bitlockertest"},

	// A real guest.
	"cmd/holdfast":     {"integration/guest", "quiesce/qga/agenttest", "fusefs/guestfs/bitlocker/bitlockertest"},
	"daemon/backup":    {"integration/guest"},
	"daemon/restore":   {"integration/guest"},
	"daemon/history":   {"integration/alone"},
	"daemon/catalogue": {"fusefs/guestfs/tree/treetest"},
	"integration":      {"integration/guest", "quiesce/qga/agenttest", "blockstore"},
	"quiesce":          {"integration/guest", "quiesce/qga/agenttest"},
	"quiesce/libvirt":  {"integration/guest"},
	"quiesce/qemu":     {"integration/guest"},
	"quiesce/qga":      {"integration/guest", "quiesce/qga/agenttest"},
}

// owners says which packages may import a module that is not ours. A module
// that is not listed may be imported by none.
var owners = map[string][]string{
	"filippo.io/age":                     {"blockstore/keyring"},
	"github.com/cespare/xxhash/v2":       {"fusefs/guestfs/btrfs"}, // a kind of checksum
	"github.com/danielgtaylor/huma/v2":   {"daemon/server"},
	"github.com/dgraph-io/badger/v4":     {"blockstore/index"},
	"github.com/hashicorp/golang-lru/v2": {"blockstore"},
	"github.com/goccy/go-yaml":           {"daemon/strict", "daemon/config"},
	"github.com/hanwen/go-fuse/v2":       {"fusefs", "integration/bench/memfs", "integration/bench/slowfs", "integration/power"},
	"github.com/klauspost/compress":      {"fusefs/guestfs/btrfs", "fusefs/guestfs/squashfs"}, // zstd, and zlib at twice the speed of Go's own
	"github.com/pierrec/lz4/v4":          {"blockstore/pack", "integration/bench", "fusefs/guestfs/squashfs"},
	"github.com/robfig/cron/v3":          {"daemon/policy"},
	"github.com/schollz/progressbar/v3":  {"cmd/holdfast"},
	"github.com/urfave/cli/v2":           {"cmd/holdfast"},
	"github.com/zeebo/blake3":            {"blockstore/content"},
	"github.com/ulikunitz/xz":            {"fusefs/guestfs/squashfs"},
	"golang.org/x/crypto":                {"fusefs/guestfs/btrfs", "fusefs/guestfs/luks", "fusefs/guestfs/bitlocker"}, // BLAKE2b; Argon2 and XTS
	"golang.org/x/term":                  {"cmd/holdfast"},
	"golang.org/x/text":                  {"fusefs/guestfs/ext", "fusefs/guestfs/fat"},
	"golang.org/x/sync":                  {"*"}, // errgroup
	"golang.org/x/sys":                   {"*"}, // system calls
	"lukechampine.com/blake3":            {"blockstore/content"},

	// What operators' tools read.
	"github.com/prometheus/client_golang": {"daemon/metrics"},
	"github.com/prometheus/common":        {"daemon/metrics"},
}

type goPackage struct {
	ImportPath, ForTest string
	Standard            bool
	Module              *struct{ Path string }
	Imports             []string
	TestImports         []string
	XTestImports        []string
	Error               *struct{ Err string }
}

// TestArrowsBetweenLayersPointDown holds every import of every package of ours,
// tests included, against the lists above.
func TestArrowsBetweenLayersPointDown(t *testing.T) {
	packages := listPackages(t)
	ours := 0
	for path, p := range packages {
		from, mine := ourPath(path)
		if !mine {
			continue
		}
		ours++
		if p.Error != nil {
			t.Errorf("%s: %s", from, p.Error.Err)
		}
		if _, listed := arrows[from]; !listed {
			t.Errorf("package %s has no row in the list of arrows in integration/layers_test.go", from)
		}
		checkImports(t, packages, from, p.Imports, arrows[from], nil)
		inTests := append(slices.Clone(arrows[from]), testArrows[from]...)
		inTests = append(inTests, from, "integration/needs")
		checkImports(t, packages, from, slices.Concat(p.TestImports, p.XTestImports), inTests, testOwners[from])
	}
	if ours == 0 {
		t.Fatal("go list names no package of " + module)
	}
}

// TestTheListOfArrowsHasNoCircle keeps the list itself honest: whatever may be
// imported, however far down, must not lead back up.
func TestTheListOfArrowsHasNoCircle(t *testing.T) {
	var walk func(path []string)
	walk = func(path []string) {
		for _, to := range arrows[path[len(path)-1]] {
			if _, listed := arrows[to]; !listed {
				t.Errorf("%s may import %s, which has no row", path[len(path)-1], to)
			}
			if slices.Contains(path, to) {
				t.Fatalf("the arrows go in a circle: %s", strings.Join(append(path, to), " -> "))
			}
			walk(append(slices.Clone(path), to))
		}
	}
	for from := range arrows {
		walk([]string{from})
	}
}

func checkImports(t *testing.T, packages map[string]goPackage, from string, imports, allowed, modules []string) {
	t.Helper()
	for _, path := range imports {
		to, mine := ourPath(path)
		p := packages[path]
		switch {
		case path == "C":
			t.Errorf("arrow %s -> C: nothing here is built with cgo", from)
		case mine && !slices.Contains(allowed, to):
			t.Errorf("arrow %s -> %s is not allowed; %s", from, to, allowedFrom(to))
		case mine, p.Standard, p.Module == nil:
		case !owns(from, p.Module.Path) && !slices.Contains(modules, p.Module.Path):
			t.Errorf("arrow %s -> %s is not allowed; %s is imported by: %s", from, path, p.Module.Path,
				orNone(owners[p.Module.Path]))
		}
	}
}

func owns(from, modulePath string) bool {
	o := owners[modulePath]
	return slices.Contains(o, from) || slices.Contains(o, "*")
}

func allowedFrom(to string) string {
	var from []string
	for f, list := range arrows {
		if slices.Contains(list, to) {
			from = append(from, f)
		}
	}
	slices.Sort(from)
	return fmt.Sprintf("%s may be imported by: %s", to, orNone(from))
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "no package (integration/layers_test.go has the list)"
	}
	return strings.Join(list, ", ")
}

// ourPath is the path of one of our packages within the module.
func ourPath(path string) (string, bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

func listPackages(t *testing.T) map[string]goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-deps", "-test",
		"-json=ImportPath,ForTest,Standard,Module,Imports,TestImports,XTestImports,Error", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v: %s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	packages := map[string]goPackage{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); err == io.EOF {
			return packages
		} else if err != nil {
			t.Fatalf("output of go list: %v", err)
		}
		if p.ForTest == "" && !strings.HasSuffix(p.ImportPath, ".test") {
			packages[p.ImportPath] = p
		}
	}
}
