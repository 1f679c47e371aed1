package libvirt

import (
	"fmt"
	"strconv"
	"strings"
)

// Source says where a layer of a disk lies.
type Source struct {
	Type string // file, block, network, volume, dir, nvme, vhostuser, ...
	Path string // of a file or block device

	Pool, Volume string // of a volume; [Host.VolumePath] finds its path

	Protocol string // of a network disk: rbd, iscsi, nbd, ...
	Name     string // of the image, target or export
	Query    string
	Hosts    []Server
	Snapshot string // of an RBD image
	Config   string // path of Ceph's configuration
	Username string
	Secret   SecretRef // password or key; zero: none
	IQN      string    // of the initiator
	TLS      bool

	Encryption string    // format, for example luks; empty: none
	Key        SecretRef // of the encryption

	// Slice is the part of the storage that holds the layer; length 0: all of it.
	SliceOffset, SliceLength int64
}

// Server is an address of network storage.
type Server struct {
	Name      string // host
	Port      int    // 0: the protocol's own
	Transport string // tcp, unix, rdma; empty is tcp
	Socket    string // path, with unix
}

// SecretRef names a secret that libvirt holds.
type SecretRef struct{ Type, UUID, Usage string }

func (r SecretRef) zero() bool { return r == SecretRef{} }

func (s Source) empty() bool {
	return s.Path == "" && s.Protocol == "" && s.Volume == ""
}

// Local tells whether the source is a file or block device of this host.
func (s Source) Local() bool { return s.Path != "" }

// String describes the source for people and for comparing; it holds no secrets.
func (s Source) String() string {
	switch {
	case s.Path != "":
		return s.slice(s.Path)
	case s.Volume != "":
		return s.slice(fmt.Sprintf("volume %s of pool %s", s.Volume, s.Pool))
	case s.Protocol == "":
		return s.Type
	}
	var hosts []string
	for _, h := range s.Hosts {
		if h.Socket != "" {
			hosts = append(hosts, h.Socket)
		} else if h.Port != 0 {
			hosts = append(hosts, h.Name+":"+strconv.Itoa(h.Port))
		} else {
			hosts = append(hosts, h.Name)
		}
	}
	text := s.Protocol + "://" + strings.Join(hosts, ",") + "/" + s.Name
	if s.Snapshot != "" {
		text += "@" + s.Snapshot
	}
	return s.slice(text)
}

func (s Source) slice(text string) string {
	if s.SliceLength > 0 {
		return fmt.Sprintf("%s (%d bytes from %d on)", text, s.SliceLength, s.SliceOffset)
	}
	return text
}

// sourceOf reads the source of a disk or of a layer of its chain.
func sourceOf(e *element) Source {
	src := e.child("source")
	s := Source{Type: e.attr("type"), Pool: src.attr("pool"), Volume: src.attr("volume")}
	switch s.Type {
	case "file":
		s.Path = src.attr("file")
	case "block":
		s.Path = src.attr("dev")
	case "network":
		networkOf(&s, e, src)
	}
	encryption := src.child("encryption")
	if encryption == nil {
		encryption = e.child("encryption") // where it stood before libvirt 3.9
	}
	if encryption != nil {
		s.Encryption, s.Key = encryption.attr("format"), secretOf(encryption.child("secret"))
	}
	for _, slice := range src.child("slices").all("slice") {
		if slice.attr("type") == "storage" {
			s.SliceOffset, _ = strconv.ParseInt(slice.attr("offset"), 10, 64)
			s.SliceLength, _ = strconv.ParseInt(slice.attr("size"), 10, 64)
		}
	}
	return s
}

func networkOf(s *Source, e, src *element) {
	s.Protocol, s.Name, s.Query, s.TLS = src.attr("protocol"), src.attr("name"), src.attr("query"), src.attr("tls") == "yes"
	s.Snapshot, s.Config = src.child("snapshot").attr("name"), src.child("config").attr("file")
	s.IQN = src.at("initiator/iqn").attr("name")
	for _, h := range src.all("host") {
		port, _ := strconv.Atoi(h.attr("port"))
		s.Hosts = append(s.Hosts, Server{Name: h.attr("name"), Port: port, Transport: h.attr("transport"), Socket: h.attr("socket")})
	}
	auth := src.child("auth")
	if auth == nil {
		auth = e.child("auth")
	}
	if auth != nil {
		s.Username, s.Secret = auth.attr("username"), secretOf(auth.child("secret"))
	}
}

func secretOf(e *element) SecretRef {
	return SecretRef{Type: e.attr("type"), UUID: e.attr("uuid"), Usage: e.attr("usage")}
}
