package nbd

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// defaultPort is the port that IANA gave to NBD.
const defaultPort = "10809"

// Address says where an export is served.
type Address struct {
	Network string // tcp or unix
	Host    string // host:port, or the path of the socket
	Export  string // name; empty is the server's default
}

func (a Address) String() string {
	u := url.URL{Scheme: "nbd", Host: a.Host, Path: "/" + a.Export}
	if a.Network == "unix" {
		u.Scheme, u.Host, u.RawQuery = "nbd+unix", "", "socket="+strings.ReplaceAll(url.QueryEscape(a.Host), "%2F", "/")
	}
	return u.String()
}

// ParseURI reads nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH, as
// https://github.com/NetworkBlockDevice/nbd/blob/master/doc/uri.md describes them.
// TLS (nbds) is not spoken.
func ParseURI(text string) (Address, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Address{}, fmt.Errorf("%.200q is not the URI of an nbd export: %w", text, err)
	}
	refuse := func(why string) (Address, error) {
		return Address{}, fmt.Errorf("%.200q: %s: write nbd://HOST:PORT/EXPORT or nbd+unix:///EXPORT?socket=PATH", text, why)
	}
	query := u.Query()
	a := Address{Network: "tcp", Export: strings.TrimPrefix(u.Path, "/")}
	switch {
	case u.Scheme == "nbds" || u.Scheme == "nbds+unix":
		return refuse("TLS is not spoken; reach the server through a tunnel (ssh -L, stunnel)")
	case u.Opaque != "", u.User != nil, u.Fragment != "":
		return refuse("not the URI of an nbd export")
	case len(a.Export) > maxString:
		return refuse("the name of the export is too long")
	case u.Scheme == "nbd+unix":
		a.Network, a.Host = "unix", query.Get("socket")
		if u.Host != "" || a.Host == "" || len(query) != 1 {
			return refuse("the path of the socket is missing, or something else is there")
		}
		return a, nil
	case u.Scheme != "nbd":
		return refuse(fmt.Sprintf("scheme %q is not known", u.Scheme))
	case u.Hostname() == "" || len(query) > 0:
		return refuse("the host is missing, or something else is there")
	}
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	a.Host = net.JoinHostPort(u.Hostname(), port)
	return a, nil
}

// HostPort splits the host of an address that is reached by TCP.
func (a Address) HostPort() (host string, port int, err error) {
	host, text, err := net.SplitHostPort(a.Host)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return host, int(n), err
}
