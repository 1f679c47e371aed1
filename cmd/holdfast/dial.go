package main

import "github.com/holdfast-backup/holdfast/daemon/api"

// dialDaemon reaches the daemon that listens at a socket.
func dialDaemon(socket string) (api.Operations, func(), error) {
	c, err := api.NewClient(api.ClientOptions{Socket: socket})
	if err != nil {
		return nil, nil, err
	}
	return c, c.Close, nil
}
