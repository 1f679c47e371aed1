package ext

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sort"
)

// fastState is what fast commits change beside the bytes of inodes. Extents and
// folders are not kept as blocks there, so neither are they here.
type fastState struct {
	files   map[uint32]*fastFile
	folders map[uint32]*fastFolder
}

type fastFile struct{ runs []run }

// fastFolder is what became of names: an inode of zero means that it is gone.
type fastFolder struct {
	fresh bool // the folder itself is new: nothing of it lies on the volume
	names map[string]fastName
	order []string
}

type fastName struct{ ino, kind uint32 }

func (f *fastState) folder(ino uint32) *fastFolder {
	if f == nil {
		return nil
	}
	return f.folders[ino]
}

func (f *fastState) runs(ino uint32) ([]run, bool) {
	file := f.files[ino]
	if file == nil {
		return nil, false
	}
	return file.runs, true
}

// fastReplay applies tags in their order, as the kernel does at a mount.
type fastReplay struct {
	v    *volume
	o    *overlay
	left int // pieces of memory and work that may still be used
}

func (r *fastReplay) spend(n int) error {
	if r.left -= n; r.left < 0 {
		return errors.New("they do not fit into the memory allowed for them")
	}
	return nil
}

func (r *fastReplay) tag(kind uint16, value []byte) error {
	ino := le.Uint32(value)
	switch kind {
	case fastInode:
		return r.inode(ino, value[4:])
	case fastAddRange:
		n := extentNode{b: append(make([]byte, extentHeader, extentHeader+extentEntry), value[4:]...), count: 1}
		return r.setRange(ino, n.run(0), true)
	case fastDelRange:
		return r.setRange(ino, run{logical: uint64(le.Uint32(value[4:])), count: uint64(le.Uint32(value[8:]))}, false)
	case fastCreate, fastLink, fastUnlink:
		return r.name(kind, ino, le.Uint32(value[4:]), string(value[8:]))
	}
	return nil
}

// raw returns an inode's bytes to be written to, and what makes them hold again.
func (r *fastReplay) raw(ino uint32) (raw []byte, done func(), err error) {
	v := r.v
	block, at, g, err := v.locate(ino)
	if err != nil {
		return nil, nil, err
	}
	b, err := r.patch(block)
	if err != nil {
		return nil, nil, err
	}
	raw = b[at : at+int(v.sb.inodeSize)]
	if g.flags&groupInodesUnset != 0 {
		if err = r.useGroup((ino - 1) / v.sb.inodesPerGroup); err != nil {
			return nil, nil, err
		}
	}
	return raw, func() { v.sb.sealInode(ino, raw); v.cache.drop(block) }, nil
}

// patch returns a block of the volume to be written to, in memory.
func (r *fastReplay) patch(block uint64) ([]byte, error) {
	b, added, err := r.o.patch(block)
	if err == nil && added {
		err = r.spend(len(b) / copyCost)
	}
	return b, err
}

// sealInode gives an inode the checksum of its content.
func (s *super) sealInode(ino uint32, raw []byte) {
	if !s.hasCsum() {
		return
	}
	in := inode{number: ino, raw: raw, seed: crc32cWord(crc32cWord(s.csumSeed, ino), le.Uint32(raw[0x64:]))}
	sum, _ := in.sum()
	le.PutUint16(raw[0x7C:], uint16(sum))
	if in.extra() >= 4 {
		le.PutUint16(raw[0x82:], uint16(sum>>16))
	}
}

// useGroup marks the inodes of a group as written to.
func (r *fastReplay) useGroup(g uint32) error {
	v := r.v
	per := uint32(v.sb.blockSize) / v.sb.descSize
	at, _ := v.sb.descBlocks(g / per)
	b, err := r.patch(at)
	if err != nil {
		return err
	}
	b = b[g%per*v.sb.descSize:][:v.sb.descSize]
	le.PutUint16(b[0x12:], le.Uint16(b[0x12:])&^groupInodesUnset)
	le.PutUint16(b[0x1E:], v.sb.descSum(b, g))
	v.cache.drop(at)
	return nil
}

// inode takes over an inode, but not where its blocks lie: that comes as ranges. A
// number that was free begins without any.
func (r *fastReplay) inode(ino uint32, value []byte) error {
	old, err := r.v.anyInode(ino)
	fresh := err != nil || le.Uint32(old.raw[0x64:]) != le.Uint32(value[0x64:]) || old.kind() != uint32(le.Uint16(value))&modeType
	raw, done, err := r.raw(ino)
	if err != nil {
		return err
	}
	tree := le.Uint32(value[0x20:])&flagExtents != 0
	if fresh {
		clear(raw)
	}
	copy(raw, value[:wordsAt])
	copy(raw[wordsAt+wordsSize:], value[wordsAt+wordsSize:])
	if !tree {
		copy(raw[wordsAt:], value[wordsAt:wordsAt+wordsSize])
	} else if le.Uint16(raw[wordsAt:]) != extentMagic {
		clear(raw[wordsAt : wordsAt+wordsSize])
		le.PutUint16(raw[wordsAt:], extentMagic)
		le.PutUint16(raw[wordsAt+4:], (wordsSize-extentHeader)/extentEntry)
	}
	done()
	if fresh {
		delete(r.v.fast.files, ino)
		delete(r.v.fast.folders, ino)
	}
	return nil
}

// setRange puts blocks of a file elsewhere, or takes them away. What concerns a
// file that is not there is passed over.
func (r *fastReplay) setRange(ino uint32, n run, mapped bool) error {
	f, err := r.file(ino)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if n.count == 0 || mapped && (n.physical >= r.v.sb.blocks || n.count > r.v.sb.blocks-n.physical) {
		return fmt.Errorf("%d blocks of inode %d at block %d", n.count, ino, n.physical)
	}
	if err := r.spend(len(f.runs)/64 + 2); err != nil {
		return err
	}
	from := sort.Search(len(f.runs), func(i int) bool { return f.runs[i].end() > n.logical })
	to := from
	var put []run
	if from < len(f.runs) && f.runs[from].logical < n.logical { // the part before it stays
		head := f.runs[from]
		head.count = n.logical - head.logical
		put = append(put, head)
	}
	if mapped {
		put = append(put, n)
	}
	for ; to < len(f.runs) && f.runs[to].logical < n.end(); to++ {
		if old := f.runs[to]; old.end() > n.end() { // and the part behind it
			put = append(put, old.from(n.end()))
		}
	}
	f.runs = slices.Replace(f.runs, from, to, put...)
	return nil
}

// file lists a file's runs, once.
func (r *fastReplay) file(ino uint32) (*fastFile, error) {
	v := r.v
	if f := v.fast.files[ino]; f != nil {
		return f, nil
	}
	in, err := v.anyInode(ino)
	if err != nil {
		return nil, err
	}
	f := &fastFile{}
	if in.has(flagInline) {
		return f, nil
	}
	m, err := v.mapping(&in)
	if err != nil {
		return nil, err
	}
	if f.runs, err = v.listRuns(&m, maxFileBlocks, r.left); err != nil {
		return nil, err
	}
	v.fast.files[ino] = f
	return f, r.spend(len(f.runs))
}

// name adds a name to a folder or takes it away. A name that another file has got
// meanwhile is left alone.
func (r *fastReplay) name(kind uint16, dir, ino uint32, name string) error {
	v := r.v
	in, err := v.folder(uint64(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	match := v.matcher(&in, name)
	cost := 4
	if blocks := int(le.Uint32(in.raw[4:]) / uint32(v.sb.blockSize)); match.fold || int64(blocks)*v.sb.blockSize > v.names.limit {
		cost += blocks // it will be searched from the front
	}
	if err := r.spend(cost); err != nil {
		return err
	}
	target, err := v.anyInode(ino)
	if err != nil {
		return nil
	}
	now, err := v.find(&in, match)
	if err != nil {
		return err
	}
	d := v.fast.change(dir)
	switch {
	case kind == fastUnlink && now == ino:
		d.set(name, fastName{})
		return r.links(ino, -1)
	case kind == fastUnlink || now == ino:
		return nil
	}
	d.set(name, fastName{ino, target.kind()})
	if kind == fastLink {
		return r.links(ino, +1)
	}
	if target.kind() == modeDir {
		v.fast.change(ino).fresh = true
	}
	return r.links(ino, 0)
}

func (f *fastState) change(dir uint32) *fastFolder {
	d := f.folders[dir]
	if d == nil {
		d = &fastFolder{names: map[string]fastName{}}
		f.folders[dir] = d
	}
	return d
}

func (d *fastFolder) set(name string, f fastName) {
	if _, known := d.names[name]; !known {
		d.order = append(d.order, name)
	}
	d.names[name] = f
}

// links changes how many names an inode has, 0 meaning that it is its first.
// The tag with the inode itself, which comes later, has the right number; a file
// that has lost its last name has no such tag.
func (r *fastReplay) links(ino uint32, change int) error {
	raw, done, err := r.raw(ino)
	if err != nil {
		return err
	}
	n := int(le.Uint16(raw[0x1A:])) + change
	if change == 0 {
		n = 1
	}
	le.PutUint16(raw[0x1A:], uint16(max(n, 0)))
	done()
	return nil
}
