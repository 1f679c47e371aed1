package api

import "context"

// Timeline is what can be asked of files of guests over several points: the daemon does it for its
// clients, and [Client] asks a daemon. It takes the permission to read contents. Functions that are
// given are called by one goroutine at a time, until the call returns.
type Timeline interface {
	// GuestHistory tells what became of a path over the points of a machine. progress, which may be nil, is
	// told how many points are done.
	GuestHistory(ctx context.Context, q HistoryQuery, progress func(done, total int64)) (FileHistory, error)

	// GuestDiff calls fn for each path that two places do not have alike, sorted by path. progress,
	// which may be nil, is told how many paths were compared.
	GuestDiff(ctx context.Context, q DiffQuery, fn func(FileDiff) error, progress func(done int64)) (FilesDiff, error)
}

// HistoryQuery asks for a history.
type HistoryQuery struct {
	Vault, Machine string
	Volume         string // by its name; "": the guest's root
	Path           string // the guest's bytes; links are followed within the guest
	Since, Until   *Time  // bounds of the points' times; nil: none
	NoSums         bool   // without checksums: files that changed need not be read as a whole
}

// DiffQuery asks for a comparison of two places in guests of one vault.
type DiffQuery struct {
	A, B    GuestAt
	Content bool // texts that differ are compared line by line
}

// TimelineLine is one line of the answer to a HistoryQuery or a DiffQuery: how far it has come, a path
// that differs, the end of either, or why there is no end.
type TimelineLine struct {
	Done    int64        `json:"done,omitempty"`  // points or paths
	Total   int64        `json:"total,omitempty"` // missing: not known
	File    *FileDiff    `json:"file,omitempty"`
	History *FileHistory `json:"history,omitempty"` // the end of a history
	Diff    *FilesDiff   `json:"diff,omitempty"`    // the end of a comparison
	Problem *Problem     `json:"problem,omitempty"`
}
