package qemu

import (
	"fmt"
	"strings"
)

// prefix begins the name of everything of ours in QEMU.
const prefix = "hf-"

func ours(name string) bool { return strings.HasPrefix(name, prefix) }

// Names of what a run makes for its disk number i.
func scratchNode(i int) string { return fmt.Sprintf("hf-fl-%d", i) }      // what is exported
func fileNode(i int) string    { return fmt.Sprintf("hf-fl-file-%d", i) } // the scratch file below it
func carrierNode(i int) string { return fmt.Sprintf("hf-map-%d", i) }     // carries a copy of a bitmap
func filterNode(i int) string  { return fmt.Sprintf("hf-flt-%d", i) }
func jobName(i int) string     { return fmt.Sprintf("hf-job-%d", i) }
func exportName(i int) string  { return fmt.Sprintf("hf-exp-%d", i) }
func mapExport(i int) string   { return fmt.Sprintf("hf-exp-map-%d", i) }

// maxBitmapName is what QEMU and the qcow2 format allow, in bytes.
const maxBitmapName = 1023

// BitmapName is the name of the bitmap that counts from a point of a vault on.
func BitmapName(vault, point string) string { return prefix + vault + "-" + point }

// vaultOf is the vault that a bitmap of ours is for.
func vaultOf(bitmap string) (vault string, ok bool) {
	rest, ok := strings.CutPrefix(bitmap, prefix)
	if !ok {
		return "", false
	}
	vault, point, ok := strings.Cut(rest, "-")
	return vault, ok && vault != "" && strings.HasPrefix(point, "p")
}
