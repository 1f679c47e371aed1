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
			continue // nobody knows what it is
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

// toldBefore is as which a vault was told to commands by the daemon before, which was killed: they go on
// asking this one, while it opens the vault. One that does not answer within a moment was not.
func (d *Daemon) toldBefore(path string) (blockstore.VaultID, string) {
	found := make(chan service.Announced, 1)
	run := d.conf().Run
	go func() { // left behind where the file system does not answer
		a, _ := service.FindAnnounced(run, path)
		found <- a
	}()
	select {
	case a := <-found:
		return a.ID, a.Name
	case <-time.After(2 * time.Second):
		return "", ""
	}
}
