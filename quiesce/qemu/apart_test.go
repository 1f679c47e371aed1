package qemu

import (
	"strings"
	"testing"
)

func TestAFilesNameTellsWhatADiskHoldsOnlyWhereNothingElseIsInTheWay(t *testing.T) {
	for name, want := range map[string]string{
		"/vms/a.raw":              "",
		"nbd+unix:///d?socket=/s": "",
		`json:{"driver":"qcow2","file":{"driver":"file","filename":"/a.qcow2"}}`:                                           "",
		`json:{"driver":"raw","file":{"driver":"host_device","filename":"/dev/sdb"}}`:                                      "",
		`json:{"offset": 1048576, "driver": "raw", "size": 2097152, "file": {"driver": "file", "filename": "/a.raw"}}`:     "part of a file",
		`json:{"driver": "raw", "size": 2097152, "file": {"driver": "file", "filename": "/a.raw"}}`:                        "part of a file",
		`json:{"driver": "raw", "file": {"driver": "qcow2", "file": {"driver": "file", "filename": "/a.qcow2"}}}`:          "driver qcow2",
		`json:{"driver":"qcow2","backing":{"driver":"raw"},"file":{"driver":"file","filename":"/a.qcow2"}}`:                "backing file",
		`json:{"throttle-group":"t","driver":"throttle","file":{"driver":"raw","file":{"driver":"file","filename":"/a"}}}`: "driver throttle",
		`json:{"driver":"raw","file":{"driver":"nbd","server":{"type":"unix","path":"/s"}}}`:                               "driver nbd",
		`json:{"driver":"raw","file":"node"}`: "driver",
		`json:[1]`:                            "not understood",
		`json:{`:                              "not understood",
	} {
		got := apart(name)
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
