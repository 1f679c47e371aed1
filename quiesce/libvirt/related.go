package libvirt

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Document is the XML of something that a domain's definition refers to.
type Document struct {
	Kind  string // network, pool, nwfilter or secret
	Name  string // of a secret: its UUID
	XML   string
	Value []byte // of a secret, where it was asked for
}

// Related returns the XML of the networks, pools and filters (with those that they
// refer to) that the domain's definition names, and its secrets, with their values, where asked for. What
// the host does not have is in missing, in words.
func (d *Domain) Related(ctx context.Context, secrets bool) (found []Document, missing []string, err error) {
	root, err := d.tree(ctx, "--inactive")
	if err != nil {
		return nil, nil, err
	}
	found, missing, err = d.host.related(ctx, root, secrets)
	return found, missing, d.wrap("what belongs to the definition", err)
}

// kinds are what definitions name, with the command that shows one, its option, and the words of a
// refusal because there is none.
var kinds = []struct{ kind, command, option string }{
	{"network", "net-dumpxml", "--network="},
	{"pool", "pool-dumpxml", "--pool="},
	{"nwfilter", "nwfilter-dumpxml", "--nwfilter="},
}

func (h *Host) related(ctx context.Context, root *element, secrets bool) (found []Document, missing []string, err error) {
	names := namesIn(root)
	for _, k := range kinds {
		for i := 0; i < len(names[k.kind]); i++ {
			name := names[k.kind][i]
			text, err := h.virsh(ctx, k.command, k.option+name)
			if says(err, "failed to get", "not found") {
				missing = append(missing, k.kind+" "+name)
				continue
			}
			if err != nil {
				return nil, nil, fmt.Errorf("%s %s: %w", k.kind, name, err)
			}
			found = append(found, Document{Kind: k.kind, Name: name, XML: text})
			if tree, err := parseXML(text); err == nil && k.kind == "nwfilter" {
				for _, f := range tree.all("filterref") {
					names[k.kind] = with(names[k.kind], f.attr("filter"))
				}
			}
		}
	}
	for _, r := range secretsIn(root) {
		doc, err := h.secret(ctx, r, secrets)
		switch {
		case err == nil && secrets:
			found = append(found, doc)
		case err != nil:
			missing = append(missing, "secret "+r.String())
		}
	}
	return found, missing, nil
}

// namesIn lists what a definition names, by kind.
func namesIn(root *element) map[string][]string {
	names := map[string][]string{}
	devices := root.child("devices")
	for _, e := range devices.all("interface") {
		if e.attr("type") == "network" {
			names["network"] = with(names["network"], e.child("source").attr("network"))
		}
		names["nwfilter"] = with(names["nwfilter"], e.child("filterref").attr("filter"))
	}
	for _, e := range devices.all("disk") {
		if e.attr("type") == "volume" {
			names["pool"] = with(names["pool"], e.child("source").attr("pool"))
		}
	}
	return names
}

// with appends a name that is not yet there.
func with(list []string, name string) []string {
	if name == "" || slices.Contains(list, name) {
		return list
	}
	return append(list, name)
}

// secretsIn lists the secrets that disks and TPMs refer to.
func secretsIn(root *element) (list []SecretRef) {
	add := func(r SecretRef) {
		if !r.zero() && !slices.Contains(list, r) {
			list = append(list, r)
		}
	}
	for _, d := range disksOf(root) {
		for _, l := range append([]Layer{{d.Format, d.Source}}, d.Chain...) {
			add(l.Source.Secret)
			add(l.Source.Key)
		}
	}
	for _, tpm := range root.child("devices").all("tpm") {
		if id := tpm.at("backend/encryption").attr("secret"); id != "" {
			add(SecretRef{Type: "vtpm", UUID: id})
		}
	}
	return list
}

// String names the secret.
func (r SecretRef) String() string {
	if r.UUID != "" {
		return r.UUID
	}
	return r.Type + " " + r.Usage
}

// secret finds a secret by its UUID, or by what it is for.
func (h *Host) secret(ctx context.Context, r SecretRef, value bool) (Document, error) {
	ids := []string{r.UUID}
	if r.UUID == "" {
		out, err := h.virsh(ctx, "secret-list")
		if err != nil {
			return Document{}, err
		}
		ids = nil
		for _, line := range strings.Split(out, "\n") {
			if f := strings.Fields(line); len(f) > 0 && isUUID(f[0]) {
				ids = append(ids, f[0])
			}
		}
	}
	for _, id := range ids {
		text, err := h.virsh(ctx, "secret-dumpxml", "--secret="+id)
		if err != nil {
			return Document{}, fmt.Errorf("secret %s: %w", r, err)
		}
		root, err := parseXML(text)
		if err != nil {
			return Document{}, fmt.Errorf("secret %s: %w", r, err)
		}
		if r.UUID == "" && !isFor(root.child("usage"), r.Usage) {
			continue
		}
		doc := Document{Kind: "secret", Name: id, XML: text}
		if value {
			doc.Value, err = h.value(ctx, id)
		}
		return doc, err
	}
	return Document{}, fmt.Errorf("secret %s: there is none", r)
}

// isFor tells whether a secret's usage has this name; each type has its own element for it.
func isFor(usage *element, name string) bool {
	for _, e := range usage.all("*") {
		if strings.TrimSpace(e.own()) == name {
			return true
		}
	}
	return false
}

func (h *Host) value(ctx context.Context, id string) ([]byte, error) {
	out, err := h.virsh(ctx, "secret-get-value", "--secret="+id)
	if err != nil {
		return nil, fmt.Errorf("value of secret %s: %w", id, err)
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(out))
	if err != nil {
		return nil, fmt.Errorf("value of secret %s: %w", id, err)
	}
	return b, nil
}

// SecretValue asks for a secret's value, as QEMU wants it: Ceph's keys in base64.
func (h *Host) SecretValue(ctx context.Context, r SecretRef) ([]byte, error) {
	doc, err := h.secret(ctx, r, true)
	if err == nil && r.Type == "ceph" {
		doc.Value = []byte(base64.StdEncoding.EncodeToString(doc.Value))
	}
	return doc.Value, err
}

// VolumePath asks where a volume of a pool lies.
func (h *Host) VolumePath(ctx context.Context, pool, volume string) (string, error) {
	out, err := h.virsh(ctx, "vol-path", "--pool="+pool, "--vol="+volume)
	if err != nil {
		return "", fmt.Errorf("volume %s of pool %s: %w", volume, pool, err)
	}
	path := strings.TrimSuffix(out, "\n")
	path = strings.TrimSuffix(path, "\n")
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("volume %s of pool %s lies at %q: such pools are not supported while the domain is off", volume, pool, path)
	}
	return path, nil
}

// Firmware says where the state lies that a domain keeps beside its disks.
type Firmware struct {
	NVRAM string // file of UEFI variables; empty: none
	TPM   string // folder of the emulated TPM's state; empty: none
}

// Firmware finds the files of NVRAM and TPM state.
func (d *Domain) Firmware(ctx context.Context) (Firmware, error) {
	root, err := d.tree(ctx, "--inactive")
	if err != nil {
		return Firmware{}, err
	}
	return firmwareOf(root, d.uuid, d.host.uri), nil
}

func firmwareOf(root *element, uuid, uri string) (f Firmware) {
	nvram := root.at("os/nvram")
	f.NVRAM = strings.TrimSpace(nvram.own())
	if src := nvram.child("source"); src != nil {
		f.NVRAM = src.attr("file")
	}
	for _, tpm := range root.child("devices").all("tpm") {
		backend := tpm.child("backend")
		if backend.attr("type") != "emulator" {
			continue
		}
		f.TPM = filepath.Join("/var/lib/libvirt/swtpm", uuid)
		if strings.Contains(uri, "/session") {
			home, _ := os.UserHomeDir()
			f.TPM = filepath.Join(home, ".config/libvirt/qemu/swtpm", uuid)
		}
		if path := backend.child("source").attr("path"); path != "" {
			f.TPM = path
		}
	}
	return f
}
