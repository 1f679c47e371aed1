package libvirt

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// ImageOptions describe a disk of a domain that is off to qemu-nbd and qemu-img, whether it
// lies on this host or on a network.
type ImageOptions struct {
	// Node is what QEMU calls BlockdevOptions: as text it is "json:" and its JSON. It holds no secrets.
	Node map[string]any
	// Secrets are the objects that Node refers to, by their ids.
	Secrets map[string]SecretRef
}

// Options describes the disk for reading. It is a pure function of the disk: volumes of
// pools must have got their paths before ([Domain.OpenDisk] sees to it). Nothing is probed: a
// qcow2 layer is told which one it is based on, and "none" where the definition does not say.
func (disk Disk) Options() (ImageOptions, error) {
	o := ImageOptions{Secrets: map[string]SecretRef{}}
	node, err := o.layers(append([]Layer{{disk.Format, disk.Source}}, disk.Chain...))
	if err != nil {
		return ImageOptions{}, fmt.Errorf("disk %s: %w", disk.Name, err)
	}
	o.Node = node
	return o, nil
}

func (o *ImageOptions) layers(layers []Layer) (map[string]any, error) {
	top := layers[0]
	file, err := o.storage(top.Source)
	if err != nil {
		return nil, err
	}
	node := map[string]any{"driver": top.Format, "read-only": true, "file": file}
	s := top.Source
	switch top.Format {
	case "raw":
		if s.SliceLength > 0 {
			node["offset"], node["size"] = s.SliceOffset, s.SliceLength
		}
		if s.Encryption != "" {
			if s.Encryption != "luks" {
				return nil, fmt.Errorf("encryption %q is not supported, only luks", s.Encryption)
			}
			node = map[string]any{"driver": "luks", "read-only": true, "key-secret": o.secret(s.Key), "file": node}
		}
	case "qcow2":
		if s.SliceLength > 0 {
			node["file"] = map[string]any{"driver": "raw", "offset": s.SliceOffset, "size": s.SliceLength, "read-only": true, "file": file}
		}
		if s.Encryption != "" {
			node["encrypt"] = map[string]any{"format": s.Encryption, "key-secret": o.secret(s.Key)}
		}
		node["backing"] = nil
	default:
		return nil, fmt.Errorf("format %q is not read: raw and qcow2 are", top.Format)
	}
	if len(layers) > 1 {
		if top.Format != "qcow2" {
			return nil, fmt.Errorf("format %s cannot be based on another image", top.Format)
		}
		if node["backing"], err = o.layers(layers[1:]); err != nil {
			return nil, err
		}
	}
	return node, nil
}

// secret makes an object of a secret and returns its id.
func (o *ImageOptions) secret(r SecretRef) string {
	for id, other := range o.Secrets {
		if other == r {
			return id
		}
	}
	id := fmt.Sprintf("hf-secret-%d", len(o.Secrets))
	o.Secrets[id] = r
	return id
}

// storage describes where a layer lies, without its format.
func (o *ImageOptions) storage(s Source) (map[string]any, error) {
	switch {
	case s.Path != "" && !strings.HasPrefix(s.Path, "/"):
		return nil, fmt.Errorf("%q is not a whole path", s.Path)
	case s.Path != "":
		return fileStorage(s), nil
	case s.TLS:
		return nil, fmt.Errorf("%s is reached with TLS, which is not supported while the domain is off: back it up while it runs", s)
	case s.Volume != "":
		return nil, fmt.Errorf("%s: its path is not known", s)
	}
	build := map[string]func(Source) (map[string]any, error){
		"rbd": o.rbd, "iscsi": o.iscsi, "nbd": o.nbd, "gluster": o.gluster, "nfs": o.nfs, "http": o.web, "https": o.web,
	}[s.Protocol]
	if build == nil {
		return nil, fmt.Errorf("storage %q is not supported while the domain is off: back it up while it runs", s.Protocol+s.Type)
	}
	node, err := build(s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s, err)
	}
	node["read-only"] = true
	return node, nil
}

func fileStorage(s Source) map[string]any {
	driver := "file"
	if s.Type == "block" {
		driver = "host_device"
	}
	return map[string]any{"driver": driver, "filename": s.Path, "read-only": true}
}

// rbd: the name is pool/image or pool/namespace/image.
func (o *ImageOptions) rbd(s Source) (map[string]any, error) {
	parts := strings.Split(s.Name, "/")
	if len(parts) != 2 && len(parts) != 3 {
		return nil, errors.New("the name is not pool/image or pool/namespace/image")
	}
	node := map[string]any{"driver": "rbd", "pool": parts[0], "image": parts[len(parts)-1]}
	if len(parts) == 3 {
		node["namespace"] = parts[1]
	}
	if s.Snapshot != "" {
		node["snapshot"] = s.Snapshot
	}
	if s.Config != "" {
		node["conf"] = s.Config
	}
	if s.Username != "" {
		node["user"] = s.Username
	}
	if !s.Secret.zero() {
		node["key-secret"] = o.secret(s.Secret)
		node["auth-client-required"] = []string{"cephx", "none"}
	}
	var servers []any
	for _, h := range s.Hosts {
		servers = append(servers, map[string]any{"host": h.Name, "port": strconv.Itoa(orPort(h.Port, 6789))})
	}
	if servers != nil {
		node["server"] = servers
	}
	return node, nil
}

// iscsi: the name is target/lun, or a target whose lun 0 is meant.
func (o *ImageOptions) iscsi(s Source) (map[string]any, error) {
	h, err := oneHost(s)
	if err != nil {
		return nil, err
	}
	target, number, _ := strings.Cut(s.Name, "/")
	lun := 0
	if number != "" {
		if lun, err = strconv.Atoi(number); err != nil || lun < 0 {
			return nil, fmt.Errorf("%q is no number of a LUN", number)
		}
	}
	transport := "tcp"
	if h.Transport == "iser" {
		transport = "iser"
	}
	node := map[string]any{"driver": "iscsi", "transport": transport, "target": target, "lun": lun,
		"portal": net.JoinHostPort(strings.Trim(h.Name, "[]"), strconv.Itoa(orPort(h.Port, 3260)))}
	if s.IQN != "" {
		node["initiator-name"] = s.IQN
	}
	if s.Username != "" {
		node["user"] = s.Username
	}
	if !s.Secret.zero() {
		node["password-secret"] = o.secret(s.Secret)
	}
	return node, nil
}

func (o *ImageOptions) nbd(s Source) (map[string]any, error) {
	h, err := oneHost(s)
	if err != nil {
		return nil, err
	}
	node := map[string]any{"driver": "nbd", "server": map[string]any{"type": "inet", "host": h.Name, "port": strconv.Itoa(orPort(h.Port, 10809))}}
	if h.Transport == "unix" {
		node["server"] = map[string]any{"type": "unix", "path": h.Socket}
	}
	if s.Name != "" {
		node["export"] = s.Name
	}
	return node, nil
}

// gluster: the name is volume/path.
func (o *ImageOptions) gluster(s Source) (map[string]any, error) {
	volume, path, ok := strings.Cut(s.Name, "/")
	if !ok || len(s.Hosts) == 0 {
		return nil, errors.New("the name is not volume/path, or there is no host")
	}
	var servers []any
	for _, h := range s.Hosts {
		if h.Transport == "unix" {
			servers = append(servers, map[string]any{"type": "unix", "path": h.Socket})
		} else {
			servers = append(servers, map[string]any{"type": "inet", "host": h.Name, "port": strconv.Itoa(orPort(h.Port, 24007))})
		}
	}
	return map[string]any{"driver": "gluster", "volume": volume, "path": path, "server": servers}, nil
}

func (o *ImageOptions) nfs(s Source) (map[string]any, error) {
	h, err := oneHost(s)
	if err != nil {
		return nil, err
	}
	return map[string]any{"driver": "nfs", "server": map[string]any{"type": "inet", "host": h.Name}, "path": s.Name}, nil
}

func (o *ImageOptions) web(s Source) (map[string]any, error) {
	h, err := oneHost(s)
	if err != nil {
		return nil, err
	}
	if s.Username != "" {
		return nil, errors.New("a password is not supported while the domain is off")
	}
	host := h.Name
	if h.Port != 0 {
		host = net.JoinHostPort(strings.Trim(h.Name, "[]"), strconv.Itoa(h.Port))
	}
	u := url.URL{Scheme: s.Protocol, Host: host, Path: "/" + s.Name, RawQuery: s.Query}
	return map[string]any{"driver": s.Protocol, "url": u.String()}, nil
}

func oneHost(s Source) (Server, error) {
	if len(s.Hosts) != 1 {
		return Server{}, fmt.Errorf("it has %d hosts, and needs one", len(s.Hosts))
	}
	return s.Hosts[0], nil
}

func orPort(port, standard int) int {
	if port == 0 {
		return standard
	}
	return port
}
