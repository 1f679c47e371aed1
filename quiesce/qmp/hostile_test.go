package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const hello = `{"QMP":{"version":{"qemu":{"major":9,"minor":1,"micro":0},"package":"x"},"capabilities":[]}}` + "\n"

// peer is a scripted monitor for one connection.
type peer struct {
	net.Conn
	lines *json.Decoder
}

func (p *peer) say(text string) { io.WriteString(p, text) }

// hear takes a command in and returns its number.
func (p *peer) hear() int {
	var c struct{ ID int }
	p.lines.Decode(&c)
	return c.ID
}

// shake greets and takes the first command.
func (p *peer) shake() {
	p.say(hello)
	p.say(fmt.Sprintf(`{"return":{},"id":%d}`+"\n", p.hear()))
}

func scripted(t *testing.T, script func(p *peer)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(time.Minute))
		script(&peer{conn, json.NewDecoder(conn)})
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return path
}

func TestWhatIsNoMonitorIsLeft(t *testing.T) {
	for want, script := range map[string]func(p *peer){
		"not the monitor":    func(p *peer) { p.say("NBDMAGIC") },
		"begin with a greet": func(p *peer) { p.say(`{"return":{}}`) },
		"no greeting":        func(*peer) {},
		"number":             func(p *peer) { p.say(`{"QMP":7}`) },
		"another client":     func(p *peer) { io.Copy(io.Discard, p) },
		"closed its monitor": func(p *peer) { p.say(hello) },
		"no thanks": func(p *peer) {
			p.say(hello)
			p.say(fmt.Sprintf(`{"error":{"class":"X","desc":"no thanks"},"id":%d}`, p.hear()))
		},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			patience := time.Minute
			if want == "another client" { // who is silent
				patience = 300 * time.Millisecond
			}
			c, err := dial(t.Context(), scripted(t, script), patience)
			if err == nil {
				c.Close()
				t.Fatal("connected")
			}
			if !strings.Contains(err.Error(), want) {
				t.Error(err)
			}
		})
	}
}

func TestAHostileMonitorFailsCommandsAndNothingElse(t *testing.T) {
	for want, script := range map[string]func(p *peer, id int){
		"not the monitor protocol: inva": func(p *peer, _ int) { p.say("garbage\n") },
		"neither a result":               func(p *peer, id int) { p.say(fmt.Sprintf(`{"id":%d}`, id)) },
		"not as expected":                func(p *peer, id int) { p.say(fmt.Sprintf(`{"return":[1],"id":%d}`, id)) },
		"cannot unmarshal":               func(p *peer, _ int) { p.say(`{"id":"x"}`) },
		"exceeded max depth":             func(p *peer, _ int) { p.say(strings.Repeat("[", 20000)) },
		"closed its monitor":             func(p *peer, id int) { p.say(fmt.Sprintf(`{"return":{},"id":%d}`, id+1)) },
		"QEMU says: yyyy": func(p *peer, id int) {
			p.say(fmt.Sprintf(`{"error":{"class":"X","desc":"%s"},"id":%d}`, strings.Repeat("y", 1<<20), id))
		},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			c, err := Dial(t.Context(), scripted(t, func(p *peer) { p.shake(); script(p, p.hear()) }))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			err = c.Do(t.Context(), "anything", nil, &struct{}{})
			if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 2*maxDesc {
				t.Errorf("%.300v", err)
			}
		})
	}
}

func TestACommandEndsWithItsContextAndALateAnswerIsDropped(t *testing.T) {
	heard, late := make(chan struct{}), make(chan struct{})
	c, err := Dial(t.Context(), scripted(t, func(p *peer) {
		p.shake()
		first := p.hear()
		close(heard)
		<-late
		p.say(fmt.Sprintf(`{"return":{},"id":%d}`, first))
		p.say(fmt.Sprintf(`{"return":{},"id":%d}`, p.hear()))
		p.hear()
		io.Copy(io.Discard, p)
	}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-heard; cancel() }()
	if err := c.Do(ctx, "slow", nil, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := c.Do(ctx, "never sent", nil, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(late)
	if err := c.Do(t.Context(), "next", nil, nil); err != nil {
		t.Error(err)
	}
	ended := make(chan error)
	go func() { ended <- c.Do(context.Background(), "pending", nil, nil) }()
	for len(pendingOf(c)) == 0 {
		time.Sleep(time.Millisecond)
	}
	c.Close()
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func pendingOf(c *Client) map[uint64]*call {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := map[uint64]*call{}
	for id, k := range c.pending {
		m[id] = k
	}
	return m
}

// endless yields one message that never ends, and counts what was taken.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	if e.n == 0 {
		p[0] = '"'
	}
	e.n += len(p)
	return len(p), nil
}

func TestAMessageThatNeverEndsIsNotKept(t *testing.T) {
	e := &endless{}
	if _, err := newInput(e, 1<<20).next(); !errors.Is(err, ErrTooLong) || e.n > 1<<20 {
		t.Errorf("%v after %d bytes", err, e.n)
	}
	long := fmt.Sprintf(`{"return":"%s","id":1}`, strings.Repeat("x", 900<<10))
	in := newInput(strings.NewReader(long+long+long), 1<<20)
	for range 3 {
		if m, err := in.next(); err != nil || len(m.Return) != 900<<10+2 {
			t.Error(err)
		}
	}
}

// FuzzMessages lets anything at all come from a monitor.
func FuzzMessages(f *testing.F) {
	f.Add([]byte(hello + `{"return":{},"id":1}{"event":"STOP","timestamp":{"seconds":1,"microseconds":2}}`))
	f.Add([]byte(`{"error":{"class":"GenericError","desc":"no"},"id":1}`))
	f.Fuzz(func(t *testing.T, said []byte) {
		c := &Client{events: make(chan Event, 1), pending: map[uint64]*call{1: {done: make(chan struct{})}}}
		k := c.pending[1]
		in := newInput(strings.NewReader(string(said)), 1<<16)
		for {
			m, err := in.next()
			if err != nil {
				break
			}
			c.take(m)
		}
		select {
		case <-k.done:
			if (k.err == nil) == (k.reply == nil) {
				t.Errorf("reply %s, error %v", k.reply, k.err)
			}
		default:
		}
	})
}
