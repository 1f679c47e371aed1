package qga

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

const (
	// maxMessage bounds what is kept of one message, in bytes.
	maxMessage = 1 << 20
	// maxString bounds what is kept of one string in it, in bytes; the rest of
	// a longer one is dropped. A multiple of 4, so that a cut in base64 leaves
	// whole groups.
	maxString = 96 << 10
	// maxRaw bounds one message as it is sent; the agent captures 16 MiB of each of
	// two streams of a process, in base64.
	maxRaw = 64 << 20

	delimiter = 0xff // begins the reply to guest-sync-delimited; never part of JSON
)

var errTooLong = errors.New("a message of the guest agent is too long")

// reader cuts the agent's stream into messages: lines of JSON.
type reader struct {
	r   *bufio.Reader
	buf []byte
}

func newReader(r io.Reader) *reader { return &reader{r: bufio.NewReaderSize(r, 16<<10)} }

// next returns the next message that is not empty, and whether a delimiter stood
// before it. What stood before a delimiter is dropped. The message is valid until
// the following call.
func (r *reader) next() (message []byte, delimited bool, err error) {
	r.buf = r.buf[:0]
	var in stringState
	for raw := 0; ; raw++ {
		b, err := r.r.ReadByte()
		if err != nil {
			return nil, false, err
		}
		switch {
		case b == delimiter:
			r.buf, delimited, in, raw = r.buf[:0], true, stringState{}, 0
		case b == '\n' && len(r.buf) > 0:
			return r.buf, delimited, nil
		case b == '\n' || b == '\r':
		case raw > maxRaw:
			return nil, false, fmt.Errorf("%w: more than %d MiB", errTooLong, maxRaw>>20)
		case in.keep(b):
			if len(r.buf) == maxMessage {
				return nil, false, fmt.Errorf("%w: more than %d KiB", errTooLong, maxMessage>>10)
			}
			r.buf = append(r.buf, b)
		}
	}
}

// stringState follows JSON far enough to know where strings are.
type stringState struct {
	inside, escaped bool
	length          int // of the string so far
}

// keep takes the next byte and tells whether it is to be kept.
func (s *stringState) keep(b byte) bool {
	switch {
	case !s.inside:
		s.inside, s.length = b == '"', 0
		return true
	case s.escaped:
		s.escaped = false
	case b == '\\':
		s.escaped = true
	case b == '"':
		s.inside = false
		return true
	}
	s.length++
	return s.length <= maxString
}
