package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

const (
	fsBlock      = 4096 // mkfs.ext4 takes it for a disk of this size
	packageFiles = 60
)

// changeDay does to the file system in image what a day does. It works on the
// unmounted image through debugfs, so that nobody needs to be root.
func (m *maker) changeDay(ctx context.Context, image, work string) error {
	scratch, err := os.MkdirTemp(work, "day-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	d := &debugScript{scratch: scratch}

	share := m.want / 200 // about that much of the disk for each kind
	for m.Gone < share {
		m.Gone += m.sizes[m.pick(d.remove)]
	}
	m.stretch = nil
	for m.Replaced < share {
		p := m.pick(d.remove)
		content, err := os.ReadFile(strings.TrimPrefix(p, copyPrefix.FindString(p)))
		if err != nil {
			continue // the host's file went away meanwhile
		}
		content = m.vary(content)
		m.Replaced += int64(len(content))
		if err := d.write(p, content); err != nil {
			return err
		}
	}
	for i := 0; m.New < share; i++ {
		content := m.logText(int64(1 + m.rng.IntN(2<<20)))
		m.New += int64(len(content))
		if err := d.write(fmt.Sprintf("/home/media/notes%03d.txt", i), content); err != nil {
			return err
		}
	}
	d.grow(m, share/logFiles)
	if err := d.run(ctx, image); err != nil {
		return err
	}
	if err := m.writeInPlace(ctx, image, share/logFiles); err != nil {
		return err
	}
	return checkFileSystem(ctx, image)
}

// copyPrefix stands before the paths of files that repeat others.
var copyPrefix = regexp.MustCompile(`^/copy[0-9]+`)

// pick takes a file of the host that was not taken before and tells it to do. Files
// go by stretches of neighbours, as those of a package do.
func (m *maker) pick(do func(string)) string {
	for {
		if len(m.stretch) == 0 {
			at := m.rng.IntN(len(m.paths))
			m.stretch = m.paths[at:min(at+packageFiles, len(m.paths))]
		}
		p := m.stretch[0]
		m.stretch = m.stretch[1:]
		if !m.used[p] && m.sizes[p] < 8<<20 {
			m.used[p] = true
			do(p)
			return p
		}
	}
}

// writeInPlace overwrites pages of the database and fills what the logs grew by, in
// the blocks of the image that hold them.
func (m *maker) writeInPlace(ctx context.Context, image string, grown int64) error {
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	db, err := fileBlocks(ctx, image, dbPath)
	if err != nil {
		return err
	}
	for m.PageBytes < m.want/1000 {
		at := m.rng.Int64N(m.Database/dbPage-2) * dbPage
		for range 1 + m.rng.IntN(2) { // 8 or 16 KiB
			if err := db.writeAt(f, m.page(at/dbPage), at); err != nil {
				return err
			}
			m.Pages, m.PageBytes, at = m.Pages+1, m.PageBytes+dbPage, at+dbPage
		}
	}
	for i := range logFiles {
		blocks, err := fileBlocks(ctx, image, logPath(i))
		if err != nil {
			return err
		}
		if err := blocks.writeAt(f, m.logText(grown), m.Logs/logFiles); err != nil {
			return err
		}
		m.Log += grown
	}
	return nil
}

// debugScript is a list of requests to debugfs.
type debugScript struct {
	scratch string
	lines   []string
	files   int
}

func (d *debugScript) remove(p string) { d.lines = append(d.lines, "rm "+p) }

func (d *debugScript) write(p string, content []byte) error {
	d.files++
	from := filepath.Join(d.scratch, fmt.Sprint(d.files))
	d.lines = append(d.lines, "cd "+path.Dir(p), "write "+from+" "+path.Base(p), "cd /")
	return os.WriteFile(from, content, 0o600)
}

// grow makes the logs longer by bytes each; their new blocks are filled afterwards.
func (d *debugScript) grow(m *maker, bytes int64) {
	size := m.Logs / logFiles
	for i := range logFiles {
		d.lines = append(d.lines,
			fmt.Sprintf("fallocate %s %d %d", logPath(i), (size+fsBlock-1)/fsBlock, (size+bytes-1)/fsBlock),
			fmt.Sprintf("sif %s size %d", logPath(i), size+bytes))
	}
}

func (d *debugScript) run(ctx context.Context, image string) error {
	script := filepath.Join(d.scratch, "script")
	if err := os.WriteFile(script, []byte(strings.Join(d.lines, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "debugfs", "-w", "-f", script, image).CombinedOutput()
	if err != nil {
		return fmt.Errorf("debugfs: %w: %s", err, lastLines(string(out)))
	}
	return nil
}

func checkFileSystem(ctx context.Context, image string) error {
	out, err := exec.CommandContext(ctx, "e2fsck", "-fn", image).CombinedOutput()
	if err != nil {
		return fmt.Errorf("the changed file system is not sound: %w: %s", err, lastLines(string(out)))
	}
	return nil
}

// run of blocks of a file on the disk, in bytes.
type fileRun struct{ logical, physical, length int64 }

type fileRuns []fileRun

// extentLine is a leaf as debugfs prints it: level, entries, logical and physical range, length.
var extentLine = regexp.MustCompile(`^\s*(\d+)/\s*(\d+)\s+\d+/\s*\d+\s+(\d+)\s*-\s*\d+\s+(\d+)\s*-\s*\d+\s+(\d+)`)

func fileBlocks(ctx context.Context, image, file string) (fileRuns, error) {
	out, err := exec.CommandContext(ctx, "debugfs", "-R", "extents "+file, image).Output()
	if err != nil {
		return nil, fmt.Errorf("debugfs: extents of %s: %w", file, err)
	}
	var runs fileRuns
	for s := bufio.NewScanner(strings.NewReader(string(out))); s.Scan(); {
		f := extentLine.FindStringSubmatch(s.Text())
		if f == nil || f[1] != f[2] { // not a leaf
			continue
		}
		var n [3]int64
		for i := range n {
			n[i], _ = strconv.ParseInt(f[3+i], 10, 64) // digits
		}
		runs = append(runs, fileRun{n[0] * fsBlock, n[1] * fsBlock, n[2] * fsBlock})
	}
	if runs == nil {
		return nil, fmt.Errorf("debugfs shows no extents of %s", file)
	}
	return runs, nil
}

// writeAt writes p at an offset of the file into the image.
func (r fileRuns) writeAt(image *os.File, p []byte, off int64) error {
	for _, run := range r {
		from, to := max(off, run.logical), min(off+int64(len(p)), run.logical+run.length)
		if from >= to {
			continue
		}
		if _, err := image.WriteAt(p[from-off:to-off], run.physical+from-run.logical); err != nil {
			return err
		}
	}
	return nil
}
