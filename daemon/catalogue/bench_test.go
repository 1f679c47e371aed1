package catalogue

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// benchSize is how many files a guest has, and how many points: HOLDFAST_BENCH_NAMES and
// HOLDFAST_BENCH_POINTS.
func benchSize(b *testing.B, name string, usual int) int {
	b.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// year is a machine of many files of which each day changes one in a hundred.
type year struct {
	*world
	r     *rand.Rand
	keys  [][]byte // sorted
	attrs []Attr
	bytes int64
	count int64 // names, summed over points
}

func newYear(b *testing.B, names, points int) *year {
	b.Helper()
	y := &year{world: newWorld(b, 1), r: rand.New(rand.NewPCG(1, 2))}
	for i := range names {
		folder := i / 12
		y.keys = append(y.keys, appendKey(nil, "", fmt.Sprintf("/srv/data/%03d/dept-%02d/%s-%06d.%s", folder/500, folder%500/10, words[folder%len(words)], i*7919%1000003, kinds[i%len(kinds)])))
	}
	slices.SortFunc(y.keys, bytes.Compare)
	y.keys = slices.CompactFunc(y.keys, bytes.Equal)
	for i := range y.keys {
		y.attrs = append(y.attrs, y.attr(i))
	}
	var base blockstore.Catalogues
	for day := range points {
		base = y.day(b, base, day)
	}
	return y
}

var (
	words = []string{"report", "invoice", "Scan", "letter", "IMG", "notes", "contract", "backup", "draft", "minutes", "plan"}
	kinds = []string{"pdf", "docx", "xlsx", "jpg", "txt", "eml", "log", "png"}
)

func (y *year) attr(ino int) Attr {
	return Attr{Mode: 0o100644, UID: 1000 + uint32(ino/5000%40), GID: 1000, Size: y.r.Int64N(1 << (8 + y.r.IntN(20))), Timed: true,
		Sec: y.at.Unix() - y.r.Int64N(1<<17), Nsec: uint32(y.r.IntN(1e9)), Ino: uint64(ino + 12)}
}

// day makes a point and its catalogue.
func (y *year) day(b *testing.B, base blockstore.Catalogues, day int) blockstore.Catalogues {
	b.Helper()
	p := y.pointOf([]byte(fmt.Sprintf("day %d", day)))
	build := &builder{ctx: b.Context(), o: y.o, p: p, Options: Options{}.withDefaults()}
	changed := map[int]bool{}
	for range len(y.keys) / 100 {
		changed[y.r.IntN(len(y.keys))] = true
	}
	if len(base) > build.Longest {
		base = nil
	}
	built, err := build.put(base, func(w *frameWriter) (Summary, error) {
		for i, key := range y.keys {
			if base != nil && !changed[i] {
				continue
			}
			if changed[i] {
				y.attrs[i] = y.attr(i)
			}
			if err := w.add(&Entry{Key: key, Attr: y.attrs[i], Gone: base != nil && changed[i] && i%10 == 3}); err != nil {
				return Summary{}, err
			}
		}
		return Summary{Names: int64(len(y.keys)), Changes: w.entries}, nil
	})
	if err != nil {
		b.Fatal(err)
	}
	y.bytes += built.Size
	y.count += int64(len(y.keys))
	return append(slices.Clone(base), built.Catalogue)
}

// BenchmarkSearchOverAYear searches all points of a machine: by a part of a name, by a size,
// and for what was deleted. Bytes are those of all catalogues for each name and point.
func BenchmarkSearchOverAYear(b *testing.B) {
	y := newYear(b, benchSize(b, "HOLDFAST_BENCH_NAMES", 100_000), benchSize(b, "HOLDFAST_BENCH_POINTS", 365))
	for name, q := range map[string]Query{
		"name":    {Name: "report-12*.xlsx", Most: -1},
		"size":    {Least: 1 << 27, Most: -1},
		"deleted": {Name: "*.xlsx", Top: "/srv/data/003", Most: -1, Deleted: true},
	} {
		b.Run(name, func(b *testing.B) {
			var s *Searched
			for b.Loop() {
				var err error
				if s, err = Search(b.Context(), y.o.Vault, y.look(), q, SearchOptions{}, func(*Hit) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			b.ReportMetric(float64(y.bytes)/float64(y.count), "bytes/name-point")
			b.ReportMetric(float64(s.Names), "entries")
			b.ReportMetric(float64(s.Hits), "hits")
			b.ReportMetric(float64(m.Sys)/1e6, "MB-of-the-process")
		})
	}
}

// BenchmarkCheckOfAYear checks all catalogues of a machine once.
func BenchmarkCheckOfAYear(b *testing.B) {
	y := newYear(b, benchSize(b, "HOLDFAST_BENCH_NAMES", 100_000), benchSize(b, "HOLDFAST_BENCH_POINTS", 365))
	all, err := y.o.Catalogues(y.look().Points[0].Machine)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(y.bytes)
	for b.Loop() {
		for _, c := range all {
			if err := Check(b.Context(), y.o.Vault, c); err != nil {
				b.Fatal(err)
			}
		}
	}
}
