package jobs

import "time"

// noteProgress writes down how far jobs have come that run, now and then: whoever kills this process
// finds it afterwards.
func (t *Table) noteProgress() {
	tick := time.NewTicker(t.o.Progress)
	defer tick.Stop()
	for {
		select {
		case <-t.root.Done():
			return
		case <-tick.C:
		}
		t.mu.Lock()
		running := t.working()
		t.mu.Unlock()
		for _, j := range running {
			j.keepIfNew()
		}
		t.keepEnds()
		if t.Trouble() != nil {
			t.tried(t.store.tryWriting())
		}
	}
}

// Trouble is why jobs cannot be kept now, so that none begins: the folder's disk is full, perhaps. Nil: they can, as
// far as is known.
func (t *Table) Trouble() error {
	if err := t.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

// tried notes whether files could be written.
func (t *Table) tried(err error) {
	if err == nil {
		t.trouble.Store(nil)
		return
	}
	t.trouble.Store(&err)
}
