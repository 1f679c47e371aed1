// Package agenttest is a guest agent for tests: it serves one client at a time
// on a Unix socket as QEMU's port does, obeys one command after the other as
// qemu-ga does, and misbehaves as it is told to.
package agenttest

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Script is how an agent behaves. The zero Script behaves well, on Linux, with
// two file systems. Times are those of the test, shorter than in life.
type Script struct {
	Absent      bool                                // the port is served and nobody is in the guest
	Windows     bool                                // what the agent says runs in the guest
	Version     string                              // "": 7.2.22
	Lacks       []string                            // commands that are disabled
	Filesystems int                                 // that a freeze finds; 0: two
	FreezeTakes time.Duration                       // nothing is answered meanwhile, and the freeze happens at the end of it
	FreezeError string                              // refusal of every freeze
	ThawError   string                              // refusal of every thaw
	ThawsItself time.Duration                       // so long after a freeze, as VSS does; the next thaw is an error then
	Raw         func(command string) (bytes []byte) // what to answer instead; nil: nothing instead
	Dies        string                              // command that the agent does not answer, nor any after it until Revive
}

// Agent is a scripted agent that runs.
type Agent struct {
	Socket string

	script   Script
	listener net.Listener
	port     chan []byte // lines from any client, in order
	gone     sync.WaitGroup

	mu     sync.Mutex // guards what follows
	conn   net.Conn   // the client; nil: none
	frozen int        // file systems
	late   bool       // VSS thawed by itself
	dead   bool
	said   []string // commands that were obeyed
	timer  *time.Timer
	ended  map[int]any // results of processes, by their number
}

// Start runs an agent until the test ends.
func Start(t testing.TB, s Script) *Agent {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent-") // short enough for a socket's address
	if err != nil {
		t.Fatal(err)
	}
	if s.Filesystems == 0 {
		s.Filesystems = 2
	}
	a := &Agent{Socket: filepath.Join(dir, "qga"), script: s, port: make(chan []byte, 1024), ended: map[int]any{}}
	if a.listener, err = net.Listen("unix", a.Socket); err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); a.serve() }()
	a.gone.Add(1)
	go func() { defer a.gone.Done(); a.obey() }()
	t.Cleanup(func() {
		a.Stop()
		<-served
		close(a.port)
		a.gone.Wait()
		if a.timer != nil {
			a.timer.Stop()
		}
		os.RemoveAll(dir)
	})
	return a
}

// Hangup ends the client's connection, as QEMU does when it goes away.
func (a *Agent) Hangup() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn != nil {
		a.conn.Close()
	}
}

// Stop ends the machine: nobody serves the socket any more.
func (a *Agent) Stop() {
	a.listener.Close()
	a.Hangup()
}

// Frozen tells whether the guest's file systems are frozen.
func (a *Agent) Frozen() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.frozen > 0
}

// SetFrozen freezes or thaws behind the agent's back.
func (a *Agent) SetFrozen(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.frozen = n
}

// Dead tells whether the agent has died by its script.
func (a *Agent) Dead() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dead
}

// Revive brings an agent back that died.
func (a *Agent) Revive() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dead, a.script.Dies = false, ""
}

// Said returns the commands that were obeyed or refused so far, without those that bring the
// stream into step.
func (a *Agent) Said() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.said...)
}

func (a *Agent) serve() {
	for {
		conn, err := a.listener.Accept()
		if err != nil {
			return
		}
		a.mu.Lock()
		a.conn = conn
		a.mu.Unlock()
		if !a.script.Absent {
			a.read(conn)
		} else { // QEMU reads nothing for a port that nobody has opened
			for !hungUp(conn) {
				time.Sleep(5 * time.Millisecond)
			}
		}
		a.mu.Lock()
		a.conn = nil
		a.mu.Unlock()
		conn.Close()
	}
}

func (a *Agent) read(conn net.Conn) {
	for r := bufio.NewReader(conn); ; {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return
		}
		a.port <- line
	}
}

// obey is the agent's one thread.
func (a *Agent) obey() {
	for line := range a.port {
		if len(line) > 0 && line[0] == 0xff {
			line = line[1:]
		}
		var request struct {
			Execute   string          `json:"execute"`
			Arguments json.RawMessage `json:"arguments"`
		}
		if err := json.Unmarshal(line, &request); err != nil {
			a.answer([]byte(`{"error":{"class":"GenericError","desc":"bad JSON"}}` + "\n"))
			continue
		}
		a.mu.Lock()
		a.dead = a.dead || request.Execute == a.script.Dies
		dead, raw := a.dead, a.script.Raw
		a.mu.Unlock()
		if dead {
			continue
		}
		if raw != nil {
			if bytes := raw(request.Execute); bytes != nil {
				a.answer(bytes)
				continue
			}
		}
		result, err := a.do(request.Execute, request.Arguments)
		var reply []byte
		if err != nil {
			reply, _ = json.Marshal(map[string]any{"error": map[string]string{"class": "GenericError", "desc": err.Error()}})
		} else {
			reply, _ = json.Marshal(map[string]any{"return": result})
		}
		if request.Execute == "guest-sync-delimited" {
			reply = append([]byte{0xff}, reply...)
		}
		a.answer(append(reply, '\n'))
	}
}

// answer writes to whoever is the client by now.
func (a *Agent) answer(b []byte) {
	a.mu.Lock()
	conn := a.conn
	a.mu.Unlock()
	if conn != nil {
		conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
		conn.Write(b)
	}
}
