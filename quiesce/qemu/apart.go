package qemu

import (
	"encoding/json"
	"fmt"
	"strings"
)

// apart says why a file's name and format do not tell what a disk holds; empty: they do.
// QEMU describes such a disk by its tree of options (bdrv_refresh_filename in block.c).
func apart(name string) string {
	text, ok := strings.CutPrefix(name, "json:")
	if !ok {
		return ""
	}
	var top map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &top) != nil {
		return "QEMU's description of it is not understood"
	}
	for _, key := range []string{"offset", "size"} {
		if _, ok := top[key]; ok {
			return "it is only a part of a file"
		}
	}
	if _, ok := top["backing"]; ok {
		return "its backing file is another one than it says itself"
	}
	var driver string
	var file struct {
		Driver string `json:"driver"`
	}
	json.Unmarshal(top["driver"], &driver) // what is missing stays empty
	json.Unmarshal(top["file"], &file)
	switch {
	case driver != "raw" && driver != "qcow2":
		return fmt.Sprintf("QEMU reads it through its driver %s", driver)
	case file.Driver != "file" && file.Driver != "host_device":
		return fmt.Sprintf("QEMU reads it through its driver %s", file.Driver)
	}
	return ""
}
