package qemu

import (
	"context"
	"strings"
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
		return nil
	}
	return list
}

// get reads one property; ok is false where it is absent or not of the kind of T.
func get[T any](ctx context.Context, m *Machine, path, name string) (v T, ok bool) {
	err := m.do(ctx, "qom-get", object{"path": path, "property": name}, &v)
	return v, err == nil
}

func (m *Machine) text(ctx context.Context, path, name string) string {
	s, _ := get[string](ctx, m, path, name)
	return s
}
