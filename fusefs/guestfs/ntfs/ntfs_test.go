package ntfs

import "testing"

// TestEveryFileIsAsNtfs3gReadsIt compares volumes of all sizes of clusters and sectors, file by file.
func TestEveryFileIsAsNtfs3gReadsIt(t *testing.T) {
	for _, c := range []struct {
		name    string
		mib     int64
		options []string
		packed  bool
	}{
		{"clusters of 4096", 48, nil, true},
		{"clusters of 512", 24, []string{"-c", "512"}, true},
		{"clusters of 1024", 24, []string{"-c", "1024"}, true},
		{"clusters of 8192", 32, []string{"-c", "8192"}, false},
		{"clusters of 65536", 64, []string{"-c", "65536"}, false},
		{"clusters of 2 MiB", 512, []string{"-c", "2097152"}, false},
		{"sectors of 4096", 48, []string{"-s", "4096"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			image := makeNTFS(t, c.mib, c.options...)
			mounted(t, image, "compression", func(dir string) {
				m := newMaker(t, dir)
				m.ordinary(1_300_001)
				if c.packed {
					m.compressed()
				}
			})
			var want map[string]facts
			mounted(t, image, "ro", func(dir string) { want = reference(t, dir) })
			v := openImage(t, image)
			got := reading(t, v)
			t.Logf("%d paths, %+v", equal(t, want, got), v.Info())
		})
	}
}
