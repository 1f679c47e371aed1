package image

import (
	"bytes"
	"fmt"
	"io"
)

// magics are how image formats begin.
var magics = []struct {
	format string
	offset int
	magic  string
}{
	{"qcow2", 0, "QFI\xfb"},
	{"vmdk", 0, "KDMV"},
	{"vmdk", 0, "COWD"},
	{"vmdk", 0, "# Disk DescriptorFile"},
	{"vdi", 64, "\x7f\x10\xda\xbe"},
	{"vhdx", 0, "vhdxfile"},
	{"vhd", 0, "conectix"},
	{"qed", 0, "QED\x00"},
	{"parallels", 0, "WithoutFreeSpace"},
	{"parallels", 0, "WithouFreSpacExt"},
}

// looksLike names the image format that the first bytes of r belong to, ""
// where they are no known one's.
func looksLike(r io.ReaderAt) (string, error) {
	b := make([]byte, 128)
	n, err := r.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return "", err
	}
	b = b[:n]
	for _, m := range magics {
		if len(b) >= m.offset && bytes.HasPrefix(b[m.offset:], []byte(m.magic)) {
			return m.format, nil
		}
	}
	return "", nil
}

// refuseDisguise refuses to take for raw what nobody said is raw and what
// looks like something else.
func refuseDisguise(f *file, hint func(format string) string) error {
	format, err := looksLike(f.f)
	if err != nil || format == "" {
		return err
	}
	return fmt.Errorf("%s looks like a %s image, and its format was not given: %s", f.path, format, hint(format))
}

func hintTop(format string) string {
	if format == formatQcow2 {
		return "add format=qcow2, or format=raw if the guest's disk really begins so"
	}
	return fmt.Sprintf("%s is not read, convert it (qemu-img convert -f %[1]s -O qcow2), or add format=raw if the guest's disk really begins so", format)
}

func hintBacking(format string) string {
	return fmt.Sprintf("the image above it should say (qemu-img rebase -u -b FILE -F %s IMAGE, or -F raw if the guest's disk really begins so)", format)
}
