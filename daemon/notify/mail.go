package notify

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"strings"
	"time"
)

// send sends an e-mail to all, over one connection that ends with ctx, at the latest at its deadline.
func (m *Mail) send(ctx context.Context, helo string, msg Message) error {
	host, port, err := net.SplitHostPort(m.Server)
	if err != nil {
		return err
	}
	password := ""
	if m.PasswordFile != "" {
		if password, err = secret(m.PasswordFile); err != nil {
			return err
		}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", m.Server)
	if err != nil {
		return err
	}
	defer conn.Close()
	if at, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(at); err != nil {
			return err
		}
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	err = m.over(conn, host, port, helo, password, msg)
	if ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		return fmt.Errorf("mail server %s: %w", m.Server, err)
	}
	return nil
}

// over sends an e-mail over a connection.
func (m *Mail) over(conn net.Conn, host, port, helo, password string, msg Message) error {
	options := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	how := m.TLS
	if how == "" {
		how = "starttls"
		if port == "465" {
			how = "tls"
		}
	}
	if how == "tls" {
		conn = tls.Client(conn, options)
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Hello(helo); err != nil {
		return err
	}
	if how == "starttls" {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return errors.New("it offers no STARTTLS; tls: none sends to it in the clear")
		}
		if err := c.StartTLS(options); err != nil {
			return err
		}
	}
	if m.User != "" {
		if err := c.Auth(smtp.PlainAuth("", m.User, password, host)); err != nil {
			return err
		}
	}
	return m.deliver(c, msg)
}

func (m *Mail) deliver(c *smtp.Client, msg Message) error {
	from, err := mail.ParseAddress(m.From)
	if err != nil {
		return err
	}
	if err := c.Mail(from.Address); err != nil {
		return err
	}
	var to []string
	for _, text := range m.To {
		a, err := mail.ParseAddress(text)
		if err != nil {
			return err
		}
		if err := c.Rcpt(a.Address); err != nil {
			return fmt.Errorf("%s: %w", a.Address, err)
		}
		to = append(to, a.String())
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	text, err := letter(from, to, msg)
	if err == nil {
		_, err = w.Write(text)
	}
	if closed := w.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	c.Quit() // it was taken; a server that is rude now changes nothing
	return nil
}

// letter is the e-mail itself.
func letter(from *mail.Address, to []string, msg Message) ([]byte, error) {
	var b bytes.Buffer
	_, domain, _ := strings.Cut(from.Address, "@")
	for _, h := range [][2]string{
		{"From", from.String()}, {"To", strings.Join(to, ", ")}, {"Subject", mime.QEncoding.Encode("utf-8", clean(msg.Title))},
		{"Date", msg.Time.Format(time.RFC1123Z)}, {"Message-ID", "<" + strings.ToLower(rand.Text()) + "@" + asciiOnly(domain) + ">"},
		{"Auto-Submitted", "auto-generated"}, {"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "quoted-printable"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	if _, err := q.Write([]byte(strings.ReplaceAll(msg.Text, "\n", "\r\n"))); err != nil {
		return nil, err
	}
	return b.Bytes(), q.Close()
}
