package restore

import (
	"fmt"
	"strings"

	"github.com/holdfast-backup/holdfast/quiesce/image"
)

// InUseError reports a target that somebody uses. Nothing was written to it.
type InUseError struct {
	Path  string
	Cause string // who uses it and what to do
	Err   error  // of the kernel, nil where it was asked in another way
}

func (e *InUseError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s %s: %v", e.Path, e.Cause, e.Err)
	}
	return e.Path + " " + e.Cause
}

func (e *InUseError) Unwrap() error { return e.Err }

func listed(users []image.User) string {
	var list []string
	for _, u := range users {
		list = append(list, u.String())
	}
	return strings.Join(list, "; ")
}
