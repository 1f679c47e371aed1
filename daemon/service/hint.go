package service

// HintError is an error with what to do about it, known only where it arose.
type HintError struct {
	Err  error
	Hint string
}

func (e *HintError) Error() string { return e.Err.Error() }

// Unwrap returns the error without the hint.
func (e *HintError) Unwrap() error { return e.Err }

// Hinted adds to err what to do about it.
func Hinted(err error, hint string) *HintError { return &HintError{err, hint} }
