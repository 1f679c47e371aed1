package daemon

import (
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// announce tells commands which vaults are this daemon's. Of one whose file system does not answer
// within a moment, what was told before stays so.
func (d *Daemon) announce() error {
	d.announcing.Lock()
	defer d.announcing.Unlock()
	list := []service.Announced{}
	for _, h := range d.vaults.list() {
		k := h.known()
		if k.ID == "" {
			continue // it was never open
		}
		found := make(chan service.Announced, 1)
		go func() { // left behind where the file system does not answer
			if a, err := service.Announcement(blockstore.VaultInfo{ID: k.ID, Name: k.Name, Path: k.Path}); err == nil {
				found <- a
			}
			close(found)
		}()
		select {
		case a, ok := <-found:
			if ok {
				d.announced[h] = a
			}
		case <-time.After(2 * time.Second):
		}
		if a, ok := d.announced[h]; ok {
			list = append(list, a)
		}
	}
	return service.Announce(d.conf().Run, list)
}
