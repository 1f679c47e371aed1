package blockstore

import (
	"os"
	"sync"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// maxOpenPacks bounds the descriptors of a vault.
const maxOpenPacks = 128

// packFiles keeps packs open for reading. A file that is given up stays open
// until its last reader is done.
type packFiles struct {
	mu   sync.Mutex
	open map[pack.ID]*packFile
	tick int64 // of the last use
}

type packFile struct {
	f     *os.File
	users int   // readers, and one for being in the table; closed at zero
	used  int64 // tick of the last use
}

func newPackFiles() *packFiles { return &packFiles{open: map[pack.ID]*packFile{}} }

// with calls fn with the pack's file, opened by open where it is not.
func (p *packFiles) with(id pack.ID, open func() (*os.File, error), fn func(*os.File) error) error {
	file, err := p.acquire(id, open)
	if err != nil {
		return err
	}
	defer p.release(file)
	return fn(file.f)
}

func (p *packFiles) acquire(id pack.ID, open func() (*os.File, error)) (*packFile, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tick++
	file := p.open[id]
	if file == nil {
		f, err := open()
		if err != nil {
			return nil, err
		}
		file = &packFile{f: f, users: 1}
		p.open[id] = file
		p.evict()
	}
	file.users++
	file.used = p.tick
	return file, nil
}

func (p *packFiles) release(file *packFile) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(file)
}

// drop takes one user away. The caller holds mu.
func (p *packFiles) drop(file *packFile) {
	file.users--
	if file.users == 0 {
		file.f.Close() // it was only read
	}
}

// evict gives up the file that was not used for longest. The caller holds mu.
func (p *packFiles) evict() {
	if len(p.open) <= maxOpenPacks {
		return
	}
	var oldest pack.ID
	least := p.tick
	for id, file := range p.open {
		if file.used < least && file.used > 0 {
			oldest, least = id, file.used
		}
	}
	if file := p.open[oldest]; file != nil {
		delete(p.open, oldest)
		p.drop(file)
	}
}

// forget gives up a pack's file, which may have been replaced or removed.
func (p *packFiles) forget(id pack.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if file := p.open[id]; file != nil {
		delete(p.open, id)
		p.drop(file)
	}
}

func (p *packFiles) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, file := range p.open {
		delete(p.open, id)
		p.drop(file)
	}
}
