package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/holdfast-backup/holdfast/quiesce/qmp"
)

// device is an object of QEMU's tree of devices.
type device struct{ path, class string }

// devices are those that the machine was given on its command line or later, not
// those that it always has. What cannot be listed is left out.
func (m *Machine) devices(ctx context.Context) []device {
	var found []device
	for _, parent := range []string{"/machine/peripheral", "/machine/peripheral-anon"} {
		for _, p := range m.properties(ctx, parent) {
			if class, ok := strings.CutPrefix(p.Type, "child<"); ok {
				found = append(found, device{parent + "/" + p.Name, strings.TrimSuffix(class, ">")})
			}
		}
	}
	return found
}

type property struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// properties of an object; none where there is no such object.
func (m *Machine) properties(ctx context.Context, path string) []property {
	var list []property
	if err := m.do(ctx, "qom-list", object{"path": path}, &list); err != nil {
		m.unanswered(err)
		return nil
	}
	return list
}

// get reads one property; ok is false where it is absent or not of the kind of T.
func get[T any](ctx context.Context, m *Machine, path, name string) (v T, ok bool) {
	var raw json.RawMessage
	if err := m.do(ctx, "qom-get", object{"path": path, "property": name}, &raw); err != nil {
		m.unanswered(err)
		return v, false
	}
	return v, json.Unmarshal(raw, &v) == nil
}

func (m *Machine) text(ctx context.Context, path, name string) string {
	s, _ := get[string](ctx, m, path, name)
	return s
}

// inquiring is m, and what keeps its questions about devices from being answered goes to
// missed: what a device is called depends on the answers, and one that is missing must not
// pass for a property that is.
func (m *Machine) inquiring(missed *error) *Machine {
	n := *m
	n.missed = missed
	return &n
}

// unanswered notes err, unless QEMU itself refused.
func (m *Machine) unanswered(err error) {
	var refusal *qmp.Error
	if m.missed != nil && *m.missed == nil && !errors.As(err, &refusal) {
		*m.missed = err
	}
}
