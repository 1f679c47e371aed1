package restore

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
)

// liar is a file that spoils one byte after it was synced, at a place in the file.
type liar struct {
	readBack
	spoil func() error
}

func (l *liar) Sync() error { return errors.Join(l.readBack.Sync(), l.spoil()) }

func TestVerifyFindsATargetThatLies(t *testing.T) {
	t.Parallel()
	d := newDisk("vda", 9<<20, 65536)
	d.blocks[20] = randomDisk("x", 65536, 65536, 0).blocks[0]
	if d.blocks[20] == nil {
		t.Fatal("the seed gives no block")
	}
	for _, c := range []struct {
		name   string
		kind   Kind
		at     int64 // in the file
		offset int64 // said to differ
	}{
		{"data of a raw file", Raw, 20*65536 + 70, 20*65536 + 70},
		{"a hole of a raw file", Raw, 5<<20 + 3, 5<<20 + 3},
		{"the last byte of a raw file", Raw, 9<<20 - 1, 9<<20 - 1},
		{"the header of a qcow2", Qcow2, 27, -1},
		{"an L1 entry", Qcow2, clusterSize + 3, -1},
		{"a refcount", Qcow2, 3*clusterSize + 1, -1},
		{"an L2 entry", Qcow2, 4*clusterSize + 20*8 + 5, -1},
		{"data of a qcow2", Qcow2, 5*clusterSize + 70, 20*65536 + 70},
	} {
		folder := t.TempDir()
		r := newRun(toFile(d, c.kind, filepath.Join(folder, "x")), Options{Verify: true})
		r.open = func(_ context.Context, tk *task, o Options) (Target, error) {
			real, err := openTarget(t.Context(), tk, o)
			if err != nil {
				return nil, err
			}
			var f *tempFile
			switch x := real.(type) {
			case *rawFile:
				f = x.tempFile
			case *qcow2File:
				f = x.tempFile
			}
			return &liar{real.(readBack), func() error {
				var b [1]byte
				if err := readFull(f, b[:], c.at); err != nil {
					return err
				}
				b[0] ^= 0x40
				_, err := f.WriteAt(b[:], c.at)
				return err
			}}, nil
		}
		_, err := r.run(t.Context())
		var m *MismatchError
		if !errors.As(err, &m) || m.Offset != c.offset || m.Disk != "vda" || m.Target == "" {
			t.Errorf("%s: error is %v", c.name, err)
		}
		wantNames(t, folder)
	}
}
