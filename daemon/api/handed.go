package api

import (
	"os"
	"sync"
)

// MostHanded is how many open files may come with one request.
const MostHanded = 32

// Handed are open files that come with a request, over a Unix socket: what the client may read and the
// daemon reads for it. Whoever is given them closes them, once it needs them no more.
type Handed struct {
	Files []*os.File
	close func()
}

// Hand makes files what comes with a request. Close calls close, once; nil: it closes them.
func Hand(files []*os.File, close func()) *Handed {
	if close == nil {
		close = func() {
			for _, f := range files {
				f.Close() // it was only read
			}
		}
	}
	return &Handed{Files: files, close: sync.OnceFunc(close)}
}

// Close lets go of the files. It may be called more than once, and of nil.
func (h *Handed) Close() {
	if h != nil {
		h.close()
	}
}

// HandOver has files come with a request.
func (r *JobRequest) HandOver(h *Handed) { r.handed = h }

// Handed are the files that came with a request; nil: none.
func (r *JobRequest) Handed() *Handed { return r.handed }

// TakesHanded tells whether files are to come with a request.
func (r *JobRequest) TakesHanded() bool { return r.Backup != nil && len(r.Backup.Open) > 0 }
