package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
)

const (
	// IntoHeader is the header of a read-disk that says where in shared memory the answer goes: NAME OFFSET.
	IntoHeader = "Holdfast-Into"

	// KindNoMemory is the kind of a problem: a memory is not shared (any more).
	KindNoMemory = "no-shared-memory"
)

// SharedMemory is what a daemon calls memory that a client shares with it.
type SharedMemory struct {
	Memory string `json:"memory"`
}

// ShareMemory shares memory (memfd_create(2)) with a daemon of this host until release is called or ctx ends. name is for
// [Client.DiskInto]. The file is closed here.
func (c *Client) ShareMemory(ctx context.Context, memory *os.File) (name string, release func(), err error) {
	h := Hand([]*os.File{memory}, nil)
	defer h.Close()
	if c.socket == "" {
		return "", nil, fmt.Errorf("memory is shared with a daemon of this host alone, and %s is reached over the network", c.where)
	}
	t := &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := c.dialer.DialContext(ctx, "unix", c.socket)
			if err != nil {
				return nil, err
			}
			return &handingConn{Conn: conn, handed: h}, nil
		}}
	one := *c
	one.http = &http.Client{Transport: t, CheckRedirect: c.http.CheckRedirect}
	resp, err := one.lasting(ctx, call{method: http.MethodPost, path: []string{"memory"}}, usualDeadline)
	if err != nil {
		t.CloseIdleConnections()
		return "", nil, err
	}
	r := bufio.NewReader(resp.Body)
	line, err := readLine(r, 4096)
	var said SharedMemory
	if err == nil {
		err = json.Unmarshal(line, &said)
	}
	if err != nil || said.Memory == "" {
		resp.Body.Close()
		t.CloseIdleConnections()
		return "", nil, c.broken(ctx, errors.Join(errors.New("its answer makes no sense"), err))
	}
	over := make(chan struct{})
	go func() { // ends when the body is closed, which release does
		defer close(over)
		io.Copy(io.Discard, r)
	}()
	return said.Memory, sync.OnceFunc(func() {
		resp.Body.Close()
		<-over
		t.CloseIdleConnections()
	}), nil
}

// DiskInto reads length bytes of a disk of a point, from offset on, into shared memory at a place there.
func (c *Client) DiskInto(ctx context.Context, vault, machine, point, disk string, offset, length int64, memory string, at int64) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.silent, errDeadline)
	defer cancel()
	resp, err := c.send(ctx, call{method: http.MethodGet, path: diskPath(vault, machine, point, disk), header: map[string]string{
		"Range": fmt.Sprintf("bytes=%d-%d", offset, offset+length-1), IntoHeader: memory + " " + strconv.FormatInt(at, 10)}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Range"); resp.StatusCode != http.StatusNoContent || !startsAt(got, offset) {
		return &Problem{Status: http.StatusGone, Exit: 1, Kind: KindNoMemory, Detail: "this daemon writes into no shared memory"}
	}
	return nil
}
