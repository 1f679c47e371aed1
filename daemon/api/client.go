package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// ErrUnreachable says that no daemon answered, or that it stopped answering.
var ErrUnreachable = errors.New("the daemon does not answer")

// ClientOptions say how a daemon is reached. Either Socket or URL is set.
type ClientOptions struct {
	Socket string // path of the daemon's Unix socket
	URL    string // of a daemon over the network, https://HOST:PORT
	Token  string // with URL
	CAFile string // certificates to trust, besides those of the system; with URL
	// Patience is how long a daemon may take to take a connection, and to be reached again while
	// a job is followed; 0: 3 seconds, and a minute.
	Patience time.Duration
}

// Client asks a daemon. It implements [Operations] and is safe for concurrent use. Each call
// has a deadline, but for those that last by their nature: Follow, Lend and reading a
// disk, where only silence has one. Errors that the daemon sent are a [*Problem]; where there
// was no answer they are ErrUnreachable. Answers are bounded.
type Client struct {
	base   string // URL, without a slash at its end
	where  string // for errors
	socket string // "": it is reached over the network
	dialer *net.Dialer
	token  string
	http   *http.Client
	again  time.Duration // how long Follow tries to reach the daemon again
	silent time.Duration // after which what lasts is taken for broken
}

// Bounds of a client.
const (
	usualDeadline  = 75 * time.Second // the daemon itself gives up after a minute
	longDeadline   = 11 * time.Minute
	largestAnswer  = 1 << 30
	largestProblem = 1 << 20
	largestEvent   = 64 << 20
)

// NewClient makes a client. It does not ask anything yet.
func NewClient(o ClientOptions) (*Client, error) {
	connect, again := 3*time.Second, time.Minute
	if o.Patience > 0 {
		connect, again = o.Patience, o.Patience
	}
	dialer := &net.Dialer{Timeout: connect}
	t := &http.Transport{DialContext: dialer.DialContext, MaxIdleConns: 4, IdleConnTimeout: 30 * time.Second,
		TLSHandshakeTimeout: connect + 5*time.Second, MaxResponseHeaderBytes: 64 << 10, DisableCompression: true}
	c := &Client{token: o.Token, dialer: dialer, again: again, silent: 45 * time.Second, http: &http.Client{Transport: t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}} // a token goes nowhere else
	switch {
	case o.Socket != "" && o.URL == "":
		c.base, c.where, c.socket = "http://holdfast", o.Socket, o.Socket
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", o.Socket)
		}
	case o.URL != "" && o.Socket == "":
		u, err := url.Parse(o.URL)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("%.100q is no address of a daemon: write https://HOST:PORT", o.URL)
		}
		c.base, c.where = "https://"+u.Host, u.Host
		t.Proxy = http.ProxyFromEnvironment
		config, err := trust(o.CAFile)
		if err != nil {
			return nil, err
		}
		t.TLSClientConfig = config
	default:
		return nil, errors.New("a daemon is reached by its socket or by a URL: name one of them")
	}
	return c, nil
}

// trust says whose certificates are believed.
func trust(file string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if file == "" {
		return config, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the certificates to trust: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	config.RootCAs = pool
	return config, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Where is the socket or host of the daemon, for messages.
func (c *Client) Where() string { return c.where }
