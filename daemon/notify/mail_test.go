package notify

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// mailServer takes e-mails, or hangs after its greeting.
func mailServer(t *testing.T, hang bool) (addr string, letters chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	letters = make(chan string, 10)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(20 * time.Second))
				if r := bufio.NewReader(conn); hang {
					io.Copy(io.Discard, r)
				} else {
					letters <- converse(conn, r)
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr().String(), letters
}

// converse is the server's side of SMTP.
func converse(w io.Writer, r *bufio.Reader) (letter string) {
	fmt.Fprint(w, "220 test ESMTP\r\n")
	inData := false
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return letter
		}
		switch {
		case inData && line == ".\r\n":
			inData = false
			fmt.Fprint(w, "250 taken\r\n")
		case inData:
			letter += line
		case strings.HasPrefix(line, "DATA"):
			inData = true
			fmt.Fprint(w, "354 go on\r\n")
		case strings.HasPrefix(line, "QUIT"):
			fmt.Fprint(w, "221 bye\r\n")
			return letter
		default:
			letter += "> " + line
			fmt.Fprint(w, "250 ok\r\n")
		}
	}
}

func TestAnEMailArrivesAsItWasMeant(t *testing.T) {
	t.Parallel()
	server, letters := mailServer(t, false)
	m := &Mail{Server: server, From: "Holdfast <backup@example.com>", To: []string{"a@example.com", "Jo <b@example.com>"}, TLS: "none"}
	msg := compose("h", start, []Note{{Kind: Failure, Object: "machine wüb\r\nBcc: x@example.com", Text: "it failed\n.\nend", Hint: "do that"}})
	if err := m.send(t.Context(), "h", msg); err != nil {
		t.Fatal(err)
	}
	got := <-letters
	for _, want := range []string{"> EHLO h\r\n", "> MAIL FROM:<backup@example.com>", "> RCPT TO:<a@example.com>\r\n", "> RCPT TO:<b@example.com>\r\n", "From: \"Holdfast\" <backup@example.com>\r\n",
		"To: <a@example.com>, \"Jo\" <b@example.com>\r\n", "Subject: =?utf-8?q?", "\r\n\r\nmachine w=C3=BCb  Bcc: x@example.com: it failed . end\r\n  hint: do that\r\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %s", want, got)
		}
	}
	if strings.Contains(got, "\nBcc:") {
		t.Errorf("a name became a header: %s", got)
	}
}

func TestAMailServerThatHangsIsLeft(t *testing.T) {
	t.Parallel()
	server, _ := mailServer(t, true)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	m := &Mail{Server: server, From: "a@example.com", To: []string{"b@example.com"}, TLS: "none"}
	if err := m.send(ctx, "h", compose("h", start, []Note{{}})); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
