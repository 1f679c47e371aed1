package qemu

import (
	"net"
	"time"
)

// serverIsOurs tells whether QEMU listens on the socket of a run of ours. It can
// run one NBD server only, so that is the one.
func (sw *sweeping) serverIsOurs() bool {
	conn, err := net.DialTimeout("unix", sw.folder+"/nbd", time.Second)
	if err != nil {
		return false // nobody listens: at most the name is left
	}
	conn.Close()
	return true
}
