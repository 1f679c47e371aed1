package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"time"
)

// What the disk holds beside the host's files.

// gatherText keeps some lines of a text file, for rows and log lines.
func (m *maker) gatherText(content []byte) {
	if len(m.words) > 200_000 || len(content) < 200 || bytes.IndexByte(content[:200], 0) >= 0 {
		return
	}
	for i, line := range strings.SplitN(string(content[:min(len(content), 20<<10)]), "\n", 200) {
		if line = strings.TrimSpace(line); i < 199 && len(line) > 8 && len(line) < 200 {
			m.words = append(m.words, line)
		}
	}
}

func (m *maker) line() string {
	if len(m.words) == 0 {
		return fmt.Sprintf("row %x", m.rng.Uint64())
	}
	return m.words[m.rng.IntN(len(m.words))]
}

// randomFiles are what cameras and archives leave: nothing to compress.
func (m *maker) randomFiles() error {
	const each = 6 << 20
	for i := range m.Incompressible / each {
		if err := m.put(fmt.Sprintf("/home/media/img%04d.jpg", i), m.noise(each)); err != nil {
			return err
		}
	}
	return nil
}

func (m *maker) noise(n int) []byte {
	p := make([]byte, 0, n+8)
	for len(p) < n {
		p = binary.LittleEndian.AppendUint64(p, m.rng.Uint64())
	}
	return p[:n]
}

// database is a file of pages as a database server keeps it.
func (m *maker) database() error {
	var all []byte
	for n := int64(0); n < m.Database; n += dbPage {
		all = append(all, m.page(n/dbPage)...)
	}
	return m.put(dbPath, all)
}

// page is a header with number, change and checksum, slots from the front, rows from the
// back, free space between.
func (m *maker) page(number int64) []byte {
	p := make([]byte, dbPage)
	binary.LittleEndian.PutUint64(p[8:], uint64(number))
	binary.LittleEndian.PutUint64(p[16:], m.rng.Uint64()>>20) // log sequence number
	low, high := 24, dbPage
	for fillTo := 64 + m.rng.IntN(1500); high-low > fillTo; {
		row := binary.LittleEndian.AppendUint64(nil, m.rng.Uint64()>>40)
		row = append(row, m.line()...)
		high -= len(row)
		copy(p[high:], row)
		binary.LittleEndian.PutUint16(p[low:], uint16(high))
		low += 2
	}
	binary.LittleEndian.PutUint32(p, crc32.ChecksumIEEE(p[8:]))
	return p
}

const logFiles = 4

func (m *maker) logFiles() error {
	for i := range logFiles {
		if err := m.put(logPath(i), m.logText(m.Logs/logFiles)); err != nil {
			return err
		}
	}
	return nil
}

func logPath(i int) string { return fmt.Sprintf("%s/service%d.log", logFolder, i) }

func (m *maker) logText(size int64) []byte {
	var text bytes.Buffer
	at := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	for int64(text.Len()) < size {
		at = at.Add(time.Duration(m.rng.IntN(900)) * time.Millisecond)
		fmt.Fprintf(&text, "%s host%d service[%d]: %s\n", at.Format(time.RFC3339Nano), m.rng.IntN(4), 1000+m.rng.IntN(9000), m.line())
	}
	return text.Bytes()[:size]
}
