package nbd

import (
	"context"
	"fmt"
	"net"
)

// DialAddress connects as [Dial] does, by TCP or to a Unix socket; the export is
// the address's, not that of o.
func DialAddress(ctx context.Context, a Address, o Options) (*Client, error) {
	o.Export = a.Export
	if a.Network == "unix" {
		return Dial(ctx, a.Host, o)
	}
	c, err := dialTCP(ctx, a, o)
	if err != nil {
		return nil, fmt.Errorf("connect to nbd export %q on %s: %w", a.Export, a.Host, err)
	}
	return c, nil
}

func dialTCP(ctx context.Context, a Address, o Options) (*Client, error) {
	if err := checkNames(o); err != nil {
		return nil, err
	}
	short, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(short, a.Network, a.Host)
	if err != nil {
		return nil, err
	}
	return enterOver(ctx, conn, a.Host, o)
}
