package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// The disk of the benchmark: an ext4 image of the machine's own files, with a
// database, logs and what does not compress, and what a day changes of it.

const (
	imageSize = 8 << 30
	seed      = 20261122
	dbPath    = "/var/lib/db/main.db"
	logFolder = "/var/log"
	dbPage    = 8 << 10
)

// sources are the folders whose files fill the disk, as far as they are needed.
func sources() []string {
	roots := []string{"/usr/lib", "/usr/share", "/usr/bin", "/usr/sbin", "/usr/libexec", "/usr/include", "/usr/local", "/opt", "/var/lib"}
	for _, name := range []string{"GOROOT", "GOMODCACHE"} {
		if out, err := exec.Command("go", "env", name).Output(); err == nil {
			roots = append(roots, strings.TrimSpace(string(out)))
		}
	}
	return roots
}

// corpus says what the disk is made of; it is kept beside an image that is kept.
type corpus struct {
	Files, Bytes          int64
	Copies                int64 // bytes that repeat files with variations
	Incompressible        int64
	Database, Logs        int64
	Replaced, New, Gone   int64 // bytes of the second day
	Pages, PageBytes, Log int64 // pages of the database overwritten, log appended
	Changed               int64 // bytes in changed blocks of 64 KiB
}

func (c corpus) String() string {
	return fmt.Sprintf(`disk: ext4, 8 GiB, %d files; %s of the host's files (%s of them repeated with variations), %s that does not compress, %s database, %s logs
second day: %d database pages overwritten (%s), %s of logs appended, files replaced %s, new %s, deleted %s: %s in 64 KiB blocks that differ`,
		c.Files, mib(c.Bytes), mib(c.Copies), mib(c.Incompressible), mib(c.Database), mib(c.Logs),
		c.Pages, mib(c.PageBytes), mib(c.Log), mib(c.Replaced), mib(c.New), mib(c.Gone), mib(c.Changed))
}

// prepare makes the disk image and the changes of its second day, or takes those
// that an earlier run kept.
func (b *bench) prepare(ctx context.Context) error {
	var c corpus
	if kept, err := os.ReadFile(b.image + ".json"); err == nil && json.Unmarshal(kept, &c) == nil {
		b.say("using the image that an earlier run left in %s", b.work)
	} else {
		b.say("making a disk of %s of files in %s ...", mib(b.size), b.work)
		if c, err = b.makeDisk(ctx); err != nil {
			return fmt.Errorf("make the disk: %w", err)
		}
		text, err := json.Marshal(c)
		if err != nil {
			return err
		}
		if err := os.WriteFile(b.image+".json", text, 0o600); err != nil {
			return err
		}
	}
	b.say("%s", c)
	var err error
	if b.patch, err = openPatch(b.image); err != nil {
		return err
	}
	// Both days have the same holes then: borg's chunks begin at the end of a hole.
	return errors.Join(b.patch.apply(2), b.patch.apply(1))
}

func (b *bench) makeDisk(ctx context.Context) (corpus, error) {
	stage := filepath.Join(b.work, "stage")
	defer os.RemoveAll(stage)
	m := &maker{stage: stage, rng: rand.New(rand.NewPCG(seed, 1)), want: b.size}
	if err := m.fill(ctx); err != nil {
		return m.corpus, err
	}
	format := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-F", "-L", "bench", "-d", stage, b.image, fmt.Sprint(imageSize>>10)+"k")
	if out, err := format.CombinedOutput(); err != nil {
		return m.corpus, fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	if err := os.RemoveAll(stage); err != nil {
		return m.corpus, err
	}
	second := b.image + ".second"
	defer os.Remove(second)
	if err := copySparse(ctx, b.image, second); err != nil {
		return m.corpus, err
	}
	if err := m.changeDay(ctx, second, b.work); err != nil {
		return m.corpus, fmt.Errorf("second day: %w", err)
	}
	changed, err := makePatch(b.image, second)
	m.Changed = changed
	return m.corpus, err
}

// maker fills a folder with what the disk will hold.
type maker struct {
	corpus
	stage string
	rng   *rand.Rand
	want  int64
	paths []string // of files of the host, as on the disk
	sizes map[string]int64
	words []string // lines of text of those files

	stretch []string // of paths, where the next files that change are taken from
	used    map[string]bool
}

// fill gathers the share of each kind of content.
func (m *maker) fill(ctx context.Context) error {
	m.sizes, m.used = map[string]int64{}, map[string]bool{}
	m.Incompressible, m.Database, m.Logs = m.want*4/100, m.want*8/100, m.want*2/100
	files := m.want - m.Incompressible - m.Database - m.Logs
	for pass := 0; m.Bytes < files; pass++ {
		before := m.Bytes
		for _, root := range sources() {
			if err := m.take(ctx, root, pass, files); err != nil {
				return err
			}
		}
		if m.Bytes == before {
			return fmt.Errorf("found no files to fill a disk with in %s", strings.Join(sources(), ", "))
		}
		if pass > 0 {
			m.Copies += m.Bytes - before
		}
	}
	if err := m.randomFiles(); err != nil {
		return err
	}
	if err := m.database(); err != nil {
		return err
	}
	return m.logFiles()
}

// plainPath is a path that debugfs takes without quoting.
var plainPath = regexp.MustCompile(`^[A-Za-z0-9/._+@-]+$`)

// take copies files below root until the disk has enough; later passes vary them.
func (m *maker) take(ctx context.Context, root string, pass int, enough int64) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !plainPath.MatchString(path) {
			return nil // not readable, or not a plain file: there are others
		}
		if m.Bytes >= enough || ctx.Err() != nil {
			return fs.SkipAll
		}
		content, err := os.ReadFile(path)
		if err != nil || len(content) == 0 || len(content) > 128<<20 {
			return nil
		}
		m.gatherText(content)
		if pass > 0 {
			content = m.vary(content)
			path = fmt.Sprintf("/copy%d%s", pass, path)
		}
		m.paths = append(m.paths, path)
		m.sizes[path] = int64(len(content))
		m.Bytes += int64(len(content))
		return m.put(path, content)
	})
}

// put writes a file of the disk.
func (m *maker) put(path string, content []byte) error {
	m.Files++
	target := filepath.Join(m.stage, path)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.WriteFile(target, content, 0o644)
}

// vary returns content as another version of a program has it: a little more at
// the front, so that everything moves, and some bytes changed.
func (m *maker) vary(content []byte) []byte {
	front := make([]byte, 1+m.rng.IntN(4000))
	for i := range front {
		front[i] = content[(i*7)%len(content)]
	}
	varied := append(front, content...)
	for range len(varied) >> 14 {
		varied[m.rng.IntN(len(varied))] ^= byte(1 + m.rng.IntN(255))
	}
	return varied
}
