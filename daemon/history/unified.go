package history

import (
	"bytes"
	"fmt"
	"strings"
)

// Bounds of a comparison line by line.
const (
	contextLines = 3
	maxEdits     = 2000 // more than so many, and what differs is one piece
)

// edit is a run of lines: the same in both, or taken out, or put in.
type edit struct {
	kind  byte // ' ', '-', '+'
	lines [][]byte
}

// unified compares two texts as `diff -u` does.
func unified(nameA, nameB string, a, b []byte) string {
	edits := compareLines(splitLines(a), splitLines(b))
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", nameA, nameB)
	lineA, lineB := 0, 0
	for i := 0; i < len(edits); {
		if edits[i].kind == ' ' {
			lineA, lineB = lineA+len(edits[i].lines), lineB+len(edits[i].lines)
			i++
			continue
		}
		end := i + 1 // behind the last change of this hunk
		for end < len(edits) && (edits[end].kind != ' ' || end+1 < len(edits) && len(edits[end].lines) <= 2*contextLines) {
			end++
		}
		before := 0
		if i > 0 {
			before = min(contextLines, len(edits[i-1].lines))
		}
		writeHunk(&out, edits, i, end, before, lineA-before, lineB-before)
		for ; i < end; i++ {
			if n := len(edits[i].lines); edits[i].kind != '+' {
				lineA += n
			}
			if n := len(edits[i].lines); edits[i].kind != '-' {
				lineB += n
			}
		}
	}
	return out.String()
}

// writeHunk writes edits[from:to] with the lines before and after them.
func writeHunk(out *strings.Builder, edits []edit, from, to, before, lineA, lineB int) {
	var body strings.Builder
	countA, countB := 0, 0
	put := func(kind byte, lines [][]byte) {
		for _, line := range lines {
			if kind != '+' {
				countA++
			}
			if kind != '-' {
				countB++
			}
			body.WriteByte(kind)
			body.WriteString(strings.ToValidUTF8(string(line), "�"))
			if !bytes.HasSuffix(line, []byte("\n")) {
				body.WriteString("\n\\ No newline at end of file\n")
			}
		}
	}
	if before > 0 {
		last := edits[from-1].lines
		put(' ', last[len(last)-before:])
	}
	for _, e := range edits[from:to] {
		put(e.kind, e.lines)
	}
	if to < len(edits) {
		put(' ', edits[to].lines[:min(contextLines, len(edits[to].lines))])
	}
	fmt.Fprintf(out, "@@ -%s +%s @@\n%s", hunkRange(lineA, countA), hunkRange(lineB, countB), body.String())
}

// hunkRange counts lines from 1; an empty range is named by the line before it.
func hunkRange(first, n int) string {
	switch n {
	case 0:
		return fmt.Sprintf("%d,0", first)
	case 1:
		return fmt.Sprint(first + 1)
	}
	return fmt.Sprintf("%d,%d", first+1, n)
}

// splitLines keeps the ends of lines.
func splitLines(b []byte) [][]byte {
	lines := bytes.SplitAfter(b, []byte("\n"))
	if n := len(lines); len(lines[n-1]) == 0 {
		lines = lines[:n-1]
	}
	return lines
}

// compareLines finds a shortest list of edits that makes b of a, by the greedy algorithm of
// Myers ("An O(ND) Difference Algorithm and Its Variations", 1986), or one that is not so
// short where they differ in very much.
func compareLines(a, b [][]byte) []edit {
	var edits []edit
	add := func(kind byte, lines [][]byte) {
		if n := len(edits); n > 0 && edits[n-1].kind == kind && len(lines) > 0 {
			edits[n-1].lines = append(edits[n-1].lines[:len(edits[n-1].lines):len(edits[n-1].lines)], lines...)
		} else if len(lines) > 0 {
			edits = append(edits, edit{kind, lines})
		}
	}
	head := 0
	for head < len(a) && head < len(b) && bytes.Equal(a[head], b[head]) {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && bytes.Equal(a[len(a)-1-tail], b[len(b)-1-tail]) {
		tail++
	}
	add(' ', a[:head])
	x, y := a[head:len(a)-tail], b[head:len(b)-tail]
	if path, ok := shortest(number(x, y)); !ok {
		add('-', x)
		add('+', y)
	} else {
		i, j := 0, 0
		for _, kind := range path {
			switch kind {
			case ' ':
				add(' ', x[i:i+1])
				i, j = i+1, j+1
			case '-':
				add('-', x[i:i+1])
				i++
			case '+':
				add('+', y[j:j+1])
				j++
			}
		}
	}
	add(' ', a[len(a)-tail:])
	return edits
}

// number gives lines numbers, equal ones the same.
func number(a, b [][]byte) (x, y []int) {
	numbers := map[string]int{}
	of := func(lines [][]byte) []int {
		list := make([]int, len(lines))
		for i, line := range lines {
			n, ok := numbers[string(line)]
			if !ok {
				n = len(numbers)
				numbers[string(line)] = n
			}
			list[i] = n
		}
		return list
	}
	return of(a), of(b)
}

// shortest returns the edits from a to b, a byte for each line; false: there are too many.
func shortest(a, b []int) ([]byte, bool) {
	most := min(len(a)+len(b), maxEdits)
	far := make([]int, 2*most+3) // by diagonal, shifted by most+1: how far down a one gets
	var trace [][]int
	for d := 0; d <= most; d++ {
		trace = append(trace, append([]int(nil), far[most+1-d:most+2+d]...))
		for k := -d; k <= d; k += 2 {
			at := most + 1 + k
			i := far[at-1] + 1
			if k == -d || k != d && far[at-1] < far[at+1] {
				i = far[at+1]
			}
			for j := i - k; i < len(a) && j < len(b) && a[i] == b[j]; i, j = i+1, j+1 {
			}
			far[at] = i
			if i >= len(a) && i-k >= len(b) {
				return walkBack(a, b, trace), true
			}
		}
	}
	return nil, false
}

// walkBack turns what was reached with each number of edits into the edits.
func walkBack(a, b []int, trace [][]int) []byte {
	var path []byte
	i, j := len(a), len(b)
	for d := len(trace) - 1; d >= 0; d-- {
		far, k := trace[d], i-j // far[d+k] is that of diagonal k before the d-th edit
		at := func(k int) int {
			if k < -d || k > d {
				return -1
			}
			return far[d+k]
		}
		before := k - 1
		if k == -d || k != d && at(k-1) < at(k+1) {
			before = k + 1
		}
		fromI, fromJ := 0, 0
		if d > 0 {
			fromI = at(before)
			fromJ = fromI - before
		}
		for i > fromI && j > fromJ {
			path = append(path, ' ')
			i, j = i-1, j-1
		}
		if d > 0 && before == k+1 {
			path = append(path, '+')
		} else if d > 0 {
			path = append(path, '-')
		}
		i, j = fromI, fromJ
	}
	for l, r := 0, len(path)-1; l < r; l, r = l+1, r-1 {
		path[l], path[r] = path[r], path[l]
	}
	return path
}
