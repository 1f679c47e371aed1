package qmp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// message is anything that QEMU sends; which fields are there says what it is.
type message struct {
	Greeting *struct {
		Version struct {
			QEMU    struct{ Major, Minor, Micro int } `json:"qemu"`
			Package string                            `json:"package"`
		} `json:"version"`
	} `json:"QMP"`
	ID     *uint64         `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data"`
	Stamp struct {
		Seconds int64 `json:"seconds"`
		Micros  int64 `json:"microseconds"`
	} `json:"timestamp"`
}

// maxDesc bounds what an error of QEMU's adds to ours, in bytes.
const maxDesc = 4096

func (m *message) event() Event {
	e := Event{Name: m.Event, Data: m.Data}
	if s := m.Stamp; s.Seconds > 0 && s.Micros >= 0 && s.Micros < 1e6 {
		e.Time = time.Unix(s.Seconds, s.Micros*1000).UTC()
	}
	return e
}

// input cuts what QEMU sends into messages. They need not be one to a line: a
// monitor may be set to print them prettily.
type input struct {
	from  *meter
	limit int // bytes of one message
	codec *json.Decoder
}

func newInput(r io.Reader, limit int) *input {
	m := &meter{r: r, left: limit}
	return &input{m, limit, json.NewDecoder(m)}
}

// next reads one message. After an error there is none.
func (in *input) next() (*message, error) {
	in.from.left = in.limit
	var m message
	err := in.codec.Decode(&m)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax), errors.As(err, &kind):
		return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	case err != nil:
		return nil, err
	}
	return &m, nil
}

// meter lets at most left bytes through.
type meter struct {
	r    io.Reader
	left int
}

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, ErrTooLong
	}
	n, err := m.r.Read(p[:min(len(p), m.left)])
	m.left -= n
	return n, err
}
