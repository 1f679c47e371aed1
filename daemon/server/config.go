package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// Disk is a disk of a point, open for reading by any number of goroutines.
type Disk interface {
	io.ReaderAt
	io.Closer
	Size() int64 // bytes
}

// Config is what a server needs. What is nil, where that may be, is answered with 404.
type Config struct {
	// Operations is told who asks (api.CallerOf), and refuses paths of the host to who is not trusted.
	Operations api.Operations
	Watching   api.Watching // status and usage; it may be nil
	Finder     api.Finder   // searches over all points of a machine; it may be nil
	Access     *access.Store
	Audit      *access.Log
	Log        *slog.Logger // nil: the default one
	Version    string       // of the program, for the OpenAPI document

	// Explain turns an error of Operations into a problem; nil, or a nil result: it is an
	// unexpected failure. Errors that are an *api.Problem already are not given to it.
	Explain func(error) *api.Problem
	// OpenDisk opens a disk of a point for a restorer; it may be nil. All four may be
	// ids, the point also a time or "latest".
	OpenDisk func(ctx context.Context, vault, machine, point, disk string) (Disk, error)
	// Files are the files of guests; they are told who asks, too. It may be nil.
	Files Files
	// MapDisk tells which ranges of a disk hold data, from an offset on: at most so many, and no more than
	// what takes a few seconds to find; it may be nil.
	MapDisk func(ctx context.Context, vault, machine, point, disk string, offset int64, most int) (api.DiskRanges, error)
	// CompareDisk calls fn for the ranges in which a disk differs between two points, ascending; it may be nil.
	CompareDisk func(ctx context.Context, vault string, a, b api.PointRef, disk string, fn func(api.Range) error) error
	// ReadConfig reads a file of a point's configuration; it may be nil.
	ReadConfig func(ctx context.Context, vault, machine, point, name string) ([]byte, error)
	// Names lists the machines of a vault by id and name alone, for permissions; nil: Operations.Machines does,
	// which asks their VMs as well.
	Names func(ctx context.Context, vault string) ([]api.Machine, error)
	// Lend gives up a vault, so that another process can be its owner, until release is called;
	// it may be nil. It waits for what cannot be interrupted, no longer than ctx, or
	// refuses with what is in the way.
	Lend func(ctx context.Context, vault string) (release func(), err error)
	// Metrics answers with Prometheus' text; it may be nil.
	Metrics http.Handler

	Limits Limits
}

// Limits bound what clients can take. The zero value of each is a careful default.
type Limits struct {
	Connections    int           // of a listener at once; 256
	PerClient      int           // of one user of the Unix socket, or of one address; 64
	Followers      int           // of jobs, at once; 128
	Files          int           // open files that one user handed over and jobs hold, or wait with; 128
	Browsing       int           // questions about guests' files at once; 16
	Downloads      int           // of guests' files and folders at once; 16
	Guesses        int           // of passphrases of guests by one caller a minute; 10
	Body           int64         // bytes of a request's body; 1 MiB
	Arrive         time.Duration // for a request to arrive, headers and body each; 15 s
	Stall          time.Duration // without the client taking any of an answer; 30 s
	Idle           time.Duration // between two requests of a connection; 60 s
	Farewell       time.Duration // for the end of a followed job to come, once the server ends; 2 s
	Beat           time.Duration // between signs of life of what lasts; 10 s
	LoginFailures  int           // of one address a minute; 10
	RefusalsMinute int           // of one caller; 120
}

func (l Limits) orUsual() Limits {
	set := func(v *int, usual int) {
		if *v <= 0 {
			*v = usual
		}
	}
	wait := func(v *time.Duration, usual time.Duration) {
		if *v <= 0 {
			*v = usual
		}
	}
	set(&l.Connections, 256)
	set(&l.PerClient, 64)
	set(&l.Followers, 128)
	set(&l.Files, 128)
	set(&l.Browsing, 16)
	set(&l.Downloads, 16)
	set(&l.Guesses, 10)
	set(&l.LoginFailures, 10)
	set(&l.RefusalsMinute, 120)
	if l.Body <= 0 {
		l.Body = 1 << 20
	}
	wait(&l.Arrive, 15*time.Second)
	wait(&l.Stall, 30*time.Second)
	wait(&l.Idle, 60*time.Second)
	wait(&l.Farewell, 2*time.Second)
	wait(&l.Beat, 10*time.Second)
	return l
}

// Server serves one Config. It is safe for concurrent use.
type Server struct {
	c         Config
	limits    Limits
	log       *slog.Logger
	mux       *http.ServeMux
	api       huma.API
	logins    *access.Attempts
	refusals  *access.Attempts
	follow    gate
	held      holdings
	guesses   *access.Attempts
	browse    gate
	downloads gate
	searches  gate
	over      gate // histories and comparisons
	walks     gate // reports that walk all maps
	reads     reads
	names     names
	windows   windows
}

// New makes a server. It answers nobody until [Server.Serve] is called.
func New(c Config) (*Server, error) {
	if c.Operations == nil || c.Access == nil || c.Audit == nil {
		return nil, errors.New("a server needs operations, grants and an audit log")
	}
	s := &Server{c: c, limits: c.Limits.orUsual(), log: c.Log, mux: http.NewServeMux()}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.logins = access.NewAttempts(s.limits.LoginFailures, time.Minute, nil)
	s.refusals = access.NewAttempts(s.limits.RefusalsMinute, time.Minute, nil)
	s.follow.most, s.held.most = s.limits.Followers, s.limits.Files
	s.browse.most, s.downloads.most = s.limits.Browsing, s.limits.Downloads
	s.guesses = access.NewAttempts(s.limits.Guesses, time.Minute, nil)
	s.windows.gate.most, s.walks.most = mostWindows, 2
	s.api = newAPI(s.mux, c.Version)
	s.register()
	describeFully(s.api.OpenAPI())
	return s, nil
}
