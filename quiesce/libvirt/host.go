package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
)

// DefaultURI is connected to where none is given: the host's own domains.
const DefaultURI = "qemu:///system"

// ErrNoVirsh is wrapped where virsh is not installed.
var ErrNoVirsh = errors.New("virsh is not installed (it is in the package libvirt-clients)")

// ErrNoHost is wrapped where libvirt cannot be connected to.
var ErrNoHost = errors.New("libvirt does not answer")

// ErrNotFound is wrapped where there is no such domain.
var ErrNotFound = errors.New("no such domain")

// Host is a libvirt that answered. It holds no connection: every call makes its
// own. Its methods may be called at once.
type Host struct {
	uri, tool string
	state     string // folder of libvirt's records of running domains
	libvirt   Version
	qemu      Version
}

// Version is that of libvirt or QEMU.
type Version struct{ Major, Minor, Micro int }

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Micro) }

// Before tells whether v is older than a release. A version that is not known is not.
func (v Version) Before(major, minor int) bool {
	return v != (Version{}) && (v.Major < major || v.Major == major && v.Minor < minor)
}

// Connect asks the libvirt at uri for its version; an empty uri is [DefaultURI].
func Connect(ctx context.Context, uri string) (*Host, error) {
	if uri == "" {
		uri = DefaultURI
	}
	tool, err := exec.LookPath("virsh")
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", uri, ErrNoVirsh)
	}
	h := &Host{uri: uri, tool: tool, state: stateFolder(uri)}
	out, err := h.virsh(ctx, "version")
	var refused *Error
	if errors.As(err, &refused) {
		return nil, fmt.Errorf("connect to %s: %w: %s", uri, ErrNoHost, refused.Message)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", uri, err)
	}
	h.libvirt, h.qemu = findVersion(out, "Using library: libvirt "), findVersion(out, "Running hypervisor: QEMU ")
	return h, nil
}

// stateFolder is where libvirt keeps its records, as far as the URI tells.
func stateFolder(uri string) string {
	_, socket, ok := strings.Cut(uri, "?socket=")
	if ok {
		return filepath.Join(filepath.Dir(socket), "qemu")
	}
	if strings.HasSuffix(uri, "/session") {
		return filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "libvirt", "qemu", "run")
	}
	return "/run/libvirt/qemu"
}

// URI is what h is connected to.
func (h *Host) URI() string { return h.uri }

// Version is that of libvirt.
func (h *Host) Version() Version { return h.libvirt }

// findVersion reads the three numbers behind label.
func findVersion(text, label string) (v Version) {
	_, rest, ok := strings.Cut(text, label)
	if !ok {
		return Version{}
	}
	rest, _, _ = strings.Cut(rest, "\n")
	numbers := strings.SplitN(strings.TrimSpace(rest), ".", 3)
	for i, to := range []*int{&v.Major, &v.Minor, &v.Micro} {
		if i < len(numbers) {
			*to, _ = strconv.Atoi(numbers[i])
		}
	}
	return v
}

// ParseTarget takes apart "[URI/]DOMAIN", for example qemu:///system/web1. A
// name without "://" is a domain of [DefaultURI]; the options of a URI stand before
// the name: qemu+unix:///system?socket=/run/x/web1 is domain web1.
func ParseTarget(s string) (uri, domain string, err error) {
	at := strings.Index(s, "://")
	if at < 0 {
		uri, domain = DefaultURI, s
	} else {
		slash := strings.LastIndexByte(s, '/')
		if slash < at+3 {
			return "", "", fmt.Errorf("libvirt domain %q: no name of a domain after the URI, as in qemu:///system/web1", s)
		}
		uri, domain = s[:slash], s[slash+1:]
	}
	switch {
	case domain == "":
		return "", "", fmt.Errorf("libvirt domain %q: no name of a domain", s)
	case uri == "" || uri[0] == '-' || strings.ContainsAny(s, "\x00\n"):
		return "", "", fmt.Errorf("libvirt domain %q: not a name", s)
	}
	return uri, domain, nil
}

// uuids lists domains; options narrow the list.
func (h *Host) uuids(ctx context.Context, options ...any) ([]string, error) {
	out, err := h.virsh(ctx, "list", append([]any{"--uuid"}, options...)...)
	if err != nil {
		return nil, err
	}
	list := strings.Fields(out)
	for _, u := range list {
		if !isUUID(u) {
			return nil, fmt.Errorf("virsh list: %.80q is no uuid", u)
		}
	}
	return list, nil
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		switch c := s[i]; {
		case dash && c == '-', !dash && (c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'):
		default:
			return false
		}
	}
	return true
}

// domainsAtOnce bounds how many virsh run at a time for one list.
const domainsAtOnce = 4

// Domains lists all domains, running or not, by name. One that vanishes
// meanwhile is left out.
func (h *Host) Domains(ctx context.Context) ([]DomainInfo, error) {
	ids, err := h.uuids(ctx, "--all")
	if err != nil {
		return nil, fmt.Errorf("list domains of %s: %w", h.uri, err)
	}
	found := make([]*DomainInfo, len(ids))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(domainsAtOnce)
	for i, id := range ids {
		g.Go(func() error {
			d := &Domain{host: h, uuid: id}
			info, err := d.Info(ctx)
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			found[i] = &info
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("list domains of %s: %w", h.uri, err)
	}
	var list []DomainInfo
	for _, info := range found {
		if info != nil {
			list = append(list, *info)
		}
	}
	slices.SortFunc(list, func(a, b DomainInfo) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Domain finds a domain by its UUID or name; a UUID goes before a name.
func (h *Host) Domain(ctx context.Context, nameOrUUID string) (*Domain, error) {
	if nameOrUUID == "" || strings.ContainsAny(nameOrUUID, "\x00\n") {
		return nil, fmt.Errorf("domain %q of %s: %w", nameOrUUID, h.uri, ErrNotFound)
	}
	if isUUID(nameOrUUID) {
		d := &Domain{host: h, uuid: strings.ToLower(nameOrUUID)}
		var err error
		if d.name, err = d.askName(ctx); err == nil || !errors.Is(err, ErrNotFound) {
			return d, err
		}
	}
	// The value of an option is taken as it is, whatever it begins with; but a number is an id to virsh.
	out, err := h.virsh(ctx, "domuuid", "--domain="+nameOrUUID)
	if err != nil && !says(err, "failed to get domain", "Domain not found") {
		return nil, fmt.Errorf("domain %q of %s: %w", nameOrUUID, h.uri, err)
	}
	if id := strings.TrimSpace(out); err == nil && isUUID(id) {
		d := &Domain{host: h, uuid: id}
		if d.name, err = d.askName(ctx); err == nil && d.name == nameOrUUID {
			return d, nil
		}
	}
	return h.search(ctx, nameOrUUID)
}

// search looks through all domains, for a name that virsh takes for something else.
func (h *Host) search(ctx context.Context, name string) (*Domain, error) {
	ids, err := h.uuids(ctx, "--all")
	if err != nil {
		return nil, fmt.Errorf("domain %q of %s: %w", name, h.uri, err)
	}
	for _, id := range ids {
		d := &Domain{host: h, uuid: id}
		if d.name, err = d.askName(ctx); err == nil && d.name == name {
			return d, nil
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("domain %q of %s: %w", name, h.uri, ErrNotFound)
}
