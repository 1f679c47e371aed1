package xfs

import (
	"errors"
	"sync"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// lastOf counts the entries of a folder and returns the last error.
func lastOf(v tree.FileSystem, ino uint64) (n int, err error) {
	for _, e := range v.ReadDir(ino) {
		if n++; e != nil {
			err = e
		}
	}
	return n, err
}

func TestStructuresThatPointInCirclesAreToldAndEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		path   string
		change func(t *testing.T, e *edited, v *volume, ino uint64)
		use    func(v tree.FileSystem, ino uint64) error
	}{
		"a leaf of attributes follows itself": {"many attributes", func(t *testing.T, e *edited, v *volume, ino uint64) {
			i, _ := v.inode(ino)
			f, _ := v.attributes(i)
			leaf, ok, err := f.hashLeaf(0, v.block, 0)
			if !ok || err != nil {
				t.Fatal(ok, err)
			}
			for block := uint64(0); block < 100; block++ { // which of them it is
				if p, err := f.meta(block, v.block); err == nil && p.at == leaf.at {
					e.write(leaf.at, be.AppendUint32(nil, uint32(block)))
					e.fix(&v.super, leaf.at)
				}
			}
		}, func(v tree.FileSystem, ino uint64) error { _, err := v.Xattrs(ino); return err }},
		"a node of an index is its own child": {"folder-700", func(t *testing.T, e *edited, v *volume, ino uint64) {
			d, err := v.directory(ino)
			if err != nil {
				t.Fatal(err)
			}
			root := uint64(dirIndexAt / v.block)
			b, err := d.hashBlock(root, v.dirBlock)
			if err != nil {
				t.Fatal(err)
			}
			e.write(b.at+8, []byte{0x3e, 0xbe}) // what it was is a node of one level now
			for n := int64(0); n < 30; n++ {
				e.write(b.at+64+n*8+4, be.AppendUint32(nil, uint32(root)))
			}
			e.write(b.at+56, []byte{0, 30, 0, 5})
			e.fix(&v.super, b.at)
		}, func(v tree.FileSystem, ino uint64) error { _, err := v.Lookup(ino, "-0"); return err }},
		"a tree of extents is its own child": {"shattered", func(t *testing.T, e *edited, v *volume, ino uint64) {
			i, _ := v.inode(ino)
			f, err := v.data(i)
			if err != nil || f.root == nil {
				t.Fatal(f, err)
			}
			at, _ := v.address(f.root.children[0], 1)
			b := e.get(at, v.block)
			be.PutUint16(b[4:], 1)
			be.PutUint16(b[6:], 1)
			be.PutUint64(b[mapHeaderV5:], f.root.keys[0])
			be.PutUint64(b[mapHeaderV5+(v.block-mapHeaderV5)/16*8:], f.root.children[0])
			e.write(at, b)
			e.fix(&v.super, at)
		}, func(v tree.FileSystem, ino uint64) error {
			f, err := v.Open(ino)
			if err != nil {
				return err
			}
			_, err = f.ReadAt(make([]byte, 100), 0)
			return err
		}},
		"a folder is far larger than the volume": {"folder-700", func(t *testing.T, e *edited, v *volume, ino uint64) {
			at, _ := v.inodeAddress(ino)
			e.write(at+56, be.AppendUint64(nil, 1<<62))
			b := e.get(at, v.super.inode)
			for n := range uint64(4) { // extents of two million blocks each
				be.PutUint64(b[coreV3+n*16:], n<<21<<9)
				be.PutUint64(b[coreV3+n*16+8:], 1<<21-1)
			}
			be.PutUint32(b[76:], 4)
			e.write(at+76, b[76:80])
			e.write(at+coreV3, b[coreV3:coreV3+64])
			e.fix(&v.super, at)
		}, func(v tree.FileSystem, ino uint64) error { _, err := lastOf(v, ino); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, _, _ := editable(t, "v5-ci")
			before, err := Format.Open(e, int64(len(e.base)), tree.Options{})
			if err != nil {
				t.Fatal(err)
			}
			ino, err := before.Lookup(before.Root(), c.path)
			if err != nil {
				t.Fatal(err)
			}
			c.change(t, e, before.(*volume), ino)
			v, err := Format.Open(e, int64(len(e.base)), tree.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var bad *tree.CorruptError
			if err := c.use(v, ino); !errors.As(err, &bad) {
				t.Errorf("it is told as %v", err)
			}
			modest(t, e)
		})
	}
}

func TestAVolumeMayBeReadFromManyPlacesAtOnce(t *testing.T) {
	t.Parallel()
	image, report := fixture(t, "v5-dirty")
	v, err := Format.Open(&still{image}, int64(len(image)), tree.Options{Memory: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { sameDigest(t, exact.Ours(t, v), report) })
	}
	all.Wait()
}

// still is an image in memory that nothing counts, for use from many goroutines.
type still struct{ image []byte }

func (s *still) ReadAt(p []byte, at int64) (int, error) {
	e := edited{base: s.image}
	return e.ReadAt(p, at)
}
