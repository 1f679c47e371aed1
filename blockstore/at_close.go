package blockstore

import "sync"

// closing is what is done when a vault is closed.
type closing struct {
	mu   sync.Mutex
	done bool
	then []func()
}

// AtClose has then called when the vault is closed; soon, on a goroutine of its own, when it is closed already.
// It is for letting go of what is kept in memory for who reads the vault: then must return soon, and not use the vault.
func (v *Vault) AtClose(then func()) {
	v.closing.mu.Lock()
	defer v.closing.mu.Unlock()
	if v.closing.done {
		go then()
		return
	}
	v.closing.then = append(v.closing.then, then)
}

// close calls what was to be called.
func (c *closing) close() {
	c.mu.Lock()
	then := c.then
	c.done, c.then = true, nil
	c.mu.Unlock()
	for _, fn := range then {
		fn()
	}
}
