package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

const overview = `What the daemon of Holdfast can be asked. On its Unix socket the kernel tells who asks; over the network
a token does (` + "`Authorization: Bearer TOKEN`" + `). Roles: viewer, restorer, operator, admin, each for machines by glob.
Lists hold what the caller may see. Sizes are bytes, times RFC 3339 in UTC, ids and names strings; fields are added, never
renamed: ignore those that you do not know. Errors are problems (RFC 9457) with members of our own: exit is the
exit code of a command, kind is for programs, hint says what to do.`

// newAPI makes the library's part: JSON alone, problems of ours, nothing in package variables.
func newAPI(mux *http.ServeMux, version string) huma.API {
	c := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI:    "3.1.0",
			Info:       &huma.Info{Title: "Holdfast", Version: version, Description: overview},
			Components: &huma.Components{Schemas: huma.NewMapRegistry("#/components/schemas/", nameOf)},
			Tags: []*huma.Tag{{Name: "look", Description: "What there is, and how it stands."}, {Name: "jobs", Description: "What takes its time."},
				{Name: "points", Description: "Recovery points."}, {Name: "files", Description: "Files of guests, as they were at points."}, {Name: "machines", Description: "How machines are backed up."},
				{Name: "policies", Description: "When, and what is kept."}, {Name: "vaults", Description: "Whole vaults."},
				{Name: "access", Description: "Who may do what, and who did."}},
		},
		OpenAPIPath:   base + "/openapi",
		Formats:       map[string]huma.Format{"application/json": asJSON, "json": asJSON},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{ourProblems},
	}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer",
		Description: "made with `holdfast token create`; not needed on the Unix socket"}}
	c.Security = []map[string][]string{{"token": {}}}
	c.FieldsOptionalByDefault = true // of requests; describeFully says what is always there in answers
	c.RejectUnknownQueryParameters = true
	return humago.New(mux, c)
}

// nameOf names schemas by their types.
func nameOf(t reflect.Type, hint string) string {
	return huma.DefaultSchemaNamer(t, hint)
}

func operationOf(s *Server, id, method, path, tag, summary, text string, may access.Permission) huma.Operation {
	what := "Any caller."
	if may != "" {
		what = fmt.Sprintf("Takes the permission `%s`, which role %s has.", may, smallestRole(may))
	}
	op := huma.Operation{
		OperationID: id, Method: method, Path: base + path, Tags: []string{tag}, Summary: summary,
		Description:  strings.TrimSpace(text + "\n\n" + what),
		MaxBodyBytes: s.limits.Body, BodyReadTimeout: s.limits.Arrive,
		Responses:  map[string]*huma.Response{},
		Extensions: map[string]any{"x-holdfast-permission": string(may)},
	}
	op.Responses["default"] = &huma.Response{Description: "A problem: it was not done, or not wholly.",
		Content: map[string]*huma.MediaType{"application/problem+json": {
			Schema:  s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.Problem](), true, "Problem"),
			Example: generic(exampleProblem)}}}
	return op
}

func smallestRole(p access.Permission) access.Role {
	for _, r := range []access.Role{access.Viewer, access.Restorer, access.Operator} {
		if r.Allows(p) {
			return r
		}
	}
	return access.Admin
}

// exampleBody puts an example of a body into an operation, before it is registered.
func exampleBody(op *huma.Operation, example any) {
	if example != nil {
		op.RequestBody = &huma.RequestBody{Required: true,
			Content: map[string]*huma.MediaType{"application/json": {Example: generic(example)}}}
	}
}

// exampleAnswer puts an example of an answer into an operation that was registered.
func exampleAnswer(doc *huma.OpenAPI, op huma.Operation, example any) {
	registered := find(doc, op.Method, op.Path)
	if ok := registered.Responses["200"]; ok != nil && ok.Content["application/json"] != nil {
		ok.Description = "Done."
		ok.Content["application/json"].Example = generic(example)
	}
}

// find returns a registered operation.
func find(doc *huma.OpenAPI, method, path string) *huma.Operation {
	item := doc.Paths[path]
	switch method {
	case http.MethodGet:
		return item.Get
	case http.MethodPost:
		return item.Post
	case http.MethodPut:
		return item.Put
	}
	return item.Delete
}

// generic is v as JSON has it, so that the document shows it as it travels.
func generic(v any) any {
	b, err := json.Marshal(v)
	var g any
	if err == nil {
		err = json.Unmarshal(b, &g)
	}
	if err != nil {
		panic(fmt.Sprintf("an example of the API is no JSON: %v", err)) // cannot happen: types of ours
	}
	return g
}

// describeFully completes the schemas of what is only ever answered: which fields are always
// there, that lists are never null, and that more fields may come. Schemas of requests stay as
// they are, because requests are checked against them.
func describeFully(doc *huma.OpenAPI) {
	for _, name := range []string{"ErrorModel", "ErrorDetail"} {
		delete(doc.Components.Schemas.Map(), name) // the library's own; ourProblems is between
	}
	asked := map[string]bool{}
	for _, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Delete} {
			if op != nil && op.RequestBody != nil {
				for _, m := range op.RequestBody.Content {
					reach(doc, m.Schema, asked)
				}
			}
		}
	}
	for name, s := range doc.Components.Schemas.Map() {
		t := doc.Components.Schemas.TypeFromRef("#/components/schemas/" + name)
		for field, p := range s.Properties {
			f, ok := fieldOf(t, field)
			if !ok {
				continue
			}
			if p.Type == huma.TypeArray {
				p.Nullable = false
			}
			if f.Type == reflect.TypeFor[api.Time]() || f.Type == reflect.TypeFor[*api.Time]() {
				p.Format = "date-time"
			}
			if !asked[name] && !strings.Contains(f.Tag.Get("json"), ",omit") {
				s.Required = append(s.Required, field)
			}
		}
		slices.Sort(s.Required)
		if !asked[name] {
			s.AdditionalProperties = true
		}
	}
}

// reach notes the schemas that s is made of.
func reach(doc *huma.OpenAPI, s *huma.Schema, found map[string]bool) {
	if s == nil {
		return
	}
	if s.Ref != "" {
		name := s.Ref[strings.LastIndex(s.Ref, "/")+1:]
		if found[name] {
			return
		}
		found[name] = true
		s = doc.Components.Schemas.SchemaFromRef(s.Ref)
	}
	reach(doc, s.Items, found)
	for _, p := range s.Properties {
		reach(doc, p, found)
	}
}

// fieldOf finds the field of a struct that has a name in JSON.
func fieldOf(t reflect.Type, name string) (reflect.StructField, bool) {
	if t == nil || t.Kind() != reflect.Struct {
		return reflect.StructField{}, false
	}
	for _, f := range reflect.VisibleFields(t) {
		if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag == name {
			return f, true
		}
	}
	return reflect.StructField{}, false
}
