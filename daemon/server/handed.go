package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// handover takes the open files that come over one connection of a Unix socket (SCM_RIGHTS, unix(7)). They are of
// the connection's first request, which takes them or lets them go with its end; what comes later the kernel
// lets go of before anybody sees it. So none ever reaches another request.
type handover struct {
	conn  *net.UnixConn
	owner uint32 // the peer's user
	held  *holdings

	mu      sync.Mutex
	files   []*os.File
	over    bool   // nothing is taken any more
	refused string // why files that came were not taken
}

// read is the connection's Read.
func (h *handover) read(b []byte) (int, error) {
	if !h.takes() {
		return h.conn.Read(b) // without room for files: the kernel lets go of them
	}
	var room [128 + 4*api.MostHanded]byte
	oob := room[:unix.CmsgSpace(4*api.MostHanded)]
	n, oobn, flags, _, err := h.conn.ReadMsgUnix(b, oob)
	if oobn > 0 || flags&unix.MSG_CTRUNC != 0 {
		h.came(oob[:oobn], flags&unix.MSG_CTRUNC != 0)
	}
	return max(n, 0), err // it is -1 beside an error
}

func (h *handover) takes() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over || h.refused != "" {
		return false
	}
	if len(h.files) == 0 && !h.held.room(h.owner) {
		h.refused = fmt.Sprintf("jobs of this user hold %d open files, and more may not come until some are over", h.held.most)
		return false
	}
	return true
}

// came notes files that came with something that was read.
func (h *handover) came(control []byte, cut bool) {
	var files []*os.File
	messages, err := syscall.ParseSocketControlMessage(control)
	for _, m := range messages {
		fds, e := syscall.ParseUnixRights(&m)
		if e != nil {
			continue // it is no message with files
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "an open file of a client"))
		}
	}
	h.held.add(h.owner, len(files))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.files = append(h.files, files...)
	switch {
	case cut || err != nil || len(h.files) > api.MostHanded:
		h.refused = fmt.Sprintf("more than %d open files came with the request, or more than this process may have", api.MostHanded)
		fallthrough
	case h.over:
		h.held.close(h.owner, h.files)
		h.files = nil
	}
}

// take returns the files that came, which are the caller's now.
func (h *handover) take() (files []*os.File, refused string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	files, h.files, h.over = h.files, nil, true
	return files, h.refused
}

// drop lets go of what nobody took.
func (h *handover) drop() {
	files, _ := h.take()
	h.held.close(h.owner, files)
}

// holdings counts the open files of clients, each from when it came until it is closed.
type holdings struct {
	most int // of one user

	mu    sync.Mutex
	count map[uint32]int
}

// room tells whether a user's files may come, as many as with a request.
func (h *holdings) room(user uint32) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count[user]+api.MostHanded <= h.most
}

func (h *holdings) add(user uint32, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count == nil {
		h.count = map[uint32]int{}
	}
	if h.count[user] += n; h.count[user] <= 0 {
		delete(h.count, user)
	}
}

// close closes files. Nobody waits for that: to close a file of a file system that a process of the
// client's serves takes as long as that process likes. Until then the file is counted.
func (h *holdings) close(user uint32, files []*os.File) {
	for _, f := range files {
		go func() {
			f.Close() // it was only read
			h.add(user, -1)
		}()
	}
}

// takeHanded makes the files that came with a request to start a job part of it.
func (c *call) takeHanded(ctx context.Context, r *api.JobRequest) error {
	p, _ := ctx.Value(peerKey).(peer)
	if p.hand == nil {
		if r.TakesHanded() {
			return badRequest(http.StatusUnprocessableEntity, "backup.open: open files come over the Unix socket of this host alone", "")
		}
		return nil
	}
	files, refused := p.hand.take()
	if refused != "" {
		p.hand.held.close(p.hand.owner, files)
		return badRequest(http.StatusUnprocessableEntity, "backup.open: "+refused, "")
	}
	if len(files) == 0 && r.TakesHanded() {
		return badRequest(http.StatusUnprocessableEntity, "backup.open: no open file came with the request", "they come with the first request of a connection, and are taken from who may back up")
	}
	if len(files) > 0 {
		r.HandOver(api.Hand(files, func() { p.hand.held.close(p.hand.owner, files) }))
	}
	return nil
}

// saidOf is what the audit log says of open files that came with a request.
func saidOf(r *api.JobRequest) string {
	if !r.TakesHanded() {
		return ""
	}
	return ", open files: " + firstBytes(strings.Join(r.Backup.Disks, " "), 400)
}
