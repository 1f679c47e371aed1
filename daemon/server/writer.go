package server

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
)

// writer gives a client so long to take what is written, each time anew: an answer may be
// long, but nobody holds a connection by not reading.
type writer struct {
	http.ResponseWriter
	stall  time.Duration
	last   time.Time // when the deadline was set
	began  bool      // a status was sent
	broken bool      // a write failed
}

func (w *writer) WriteHeader(status int) {
	w.began = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(b []byte) (int, error) {
	w.extend()
	w.began = true
	n, err := w.ResponseWriter.Write(b)
	w.broken = w.broken || err != nil
	return n, err
}

// ReadFrom writes what r has, in large pieces, which a vault reads faster than small ones.
func (w *writer) ReadFrom(r io.Reader) (int64, error) {
	buf := pieces.Get().(*[]byte)
	defer pieces.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{w}, r, *buf)
}

// pieces are buffers of answers: small ranges are asked for by the thousand.
var pieces = sync.Pool{New: func() any { b := make([]byte, 1<<20); return &b }}

// FlushError sends what was written.
func (w *writer) FlushError() error {
	w.extend()
	err := http.NewResponseController(w.ResponseWriter).Flush()
	w.broken = w.broken || err != nil
	return err
}

func (w *writer) extend() {
	if now := time.Now(); now.Sub(w.last) > w.stall/8 {
		w.last = now
		http.NewResponseController(w.ResponseWriter).SetWriteDeadline(now.Add(w.stall))
	}
}

// Unwrap lets an http.ResponseController reach what is below.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// SetReadDeadline is how the library bounds the arrival of a body.
func (w *writer) SetReadDeadline(t time.Time) error {
	return http.NewResponseController(w.ResponseWriter).SetReadDeadline(t)
}

// asJSON writes and reads bodies. A list is written element by element: the points of a
// large vault are never in memory twice.
var asJSON = huma.Format{
	Marshal: func(w io.Writer, v any) error {
		out := bufio.NewWriterSize(w, 64<<10)
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		list := reflect.ValueOf(v)
		if list.Kind() != reflect.Slice || list.Type().Elem().Kind() == reflect.Uint8 {
			return errors.Join(e.Encode(v), out.Flush())
		}
		out.WriteByte('[')
		for i := range list.Len() {
			if i > 0 {
				out.WriteByte(',')
			}
			if err := e.Encode(list.Index(i).Addr().Interface()); err != nil {
				return err
			}
		}
		out.WriteString("]\n")
		return out.Flush()
	},
	Unmarshal: func(b []byte, v any) error {
		if !utf8.Valid(b) {
			return errors.New("the body is not UTF-8")
		}
		return json.Unmarshal(b, v)
	},
}
