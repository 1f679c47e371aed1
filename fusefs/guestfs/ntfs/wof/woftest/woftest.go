// Package woftest makes compressed streams of the Windows Overlay Filter for tests, with
// wimlib: a compressed resource of a WIM file has the same table and the same chunks.
package woftest

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/ntfs/wof"
)

// Streams compresses contents, none empty, at a level of wimlib (1 to 100). The test is
// skipped where wimlib is missing.
func Streams(t testing.TB, m wof.Method, level int, contents ...[]byte) [][]byte {
	t.Helper()
	if _, err := exec.LookPath("wimlib-imagex"); err != nil {
		if os.Getenv("HOLDFAST_CI") == "1" {
			t.Fatal("wimlib-imagex is missing: integration/install-deps test installs it")
		}
		t.Skip("wimlib-imagex is missing: integration/install-deps test installs it")
	}
	dir := t.TempDir()
	for i, content := range contents {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kind := "xpress"
	if m == wof.LZX {
		kind = "lzx"
	}
	file := filepath.Join(t.TempDir(), "wim")
	out, err := exec.CommandContext(t.Context(), "wimlib-imagex", "capture", dir, file, "--no-acls", "--threads=1",
		fmt.Sprintf("--compress=%s:%d", kind, level), fmt.Sprintf("--chunk-size=%d", m.Chunk())).CombinedOutput()
	if err != nil {
		t.Fatalf("wimlib-imagex: %v: %s", err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	made := resources(t, b)
	streams := make([][]byte, len(contents))
	for i, content := range contents {
		r, ok := made[sha1.Sum(content)]
		if !ok {
			t.Fatalf("wimlib left content %d out", i)
		}
		if streams[i] = r.b; !r.compressed {
			streams[i] = Stored(m, content)
		}
	}
	return streams
}

// Stored is a stream whose chunks are not compressed.
func Stored(m wof.Method, content []byte) []byte {
	var table []byte
	for at := m.Chunk(); at < int64(len(content)); at += m.Chunk() {
		table = binary.LittleEndian.AppendUint32(table, uint32(at))
	}
	return append(table, content...)
}

type resource struct {
	b          []byte
	compressed bool
}

// resources returns those of a WIM file by the hash of their content.
func resources(t testing.TB, b []byte) map[[20]byte]resource {
	t.Helper()
	const lookup, entry, compressedFlag = 48, 50, 4
	at := func(header []byte) []byte {
		size := binary.LittleEndian.Uint64(header) & (1<<56 - 1)
		off := binary.LittleEndian.Uint64(header[8:])
		if off > uint64(len(b)) || size > uint64(len(b))-off {
			t.Fatalf("the WIM file has a resource at %d of %d bytes", off, size)
		}
		return b[off:][:size]
	}
	if !bytes.HasPrefix(b, []byte("MSWIM\x00\x00\x00")) {
		t.Fatal("wimlib made no WIM file")
	}
	made := map[[20]byte]resource{}
	for table := at(b[lookup:]); len(table) >= entry; table = table[entry:] {
		made[[20]byte(table[30:50])] = resource{at(table), table[7]&compressedFlag != 0}
	}
	return made
}
