package server

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

func TestTheDocumentSaysOfEachEndpointWhatItIsAndShowsExamplesThatAreTrue(t *testing.T) {
	st := newSite(t, nil)
	doc := st.api.OpenAPI()
	if out := os.Getenv("HOLDFAST_OPENAPI_OUT"); out != "" {
		b, _ := json.MarshalIndent(doc, "", " ")
		os.WriteFile(out, b, 0o600)
	}
	tags := map[string]bool{}
	for _, tag := range doc.Tags {
		tags[tag.Name] = true
	}
	for path, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Delete} {
			if op == nil {
				continue
			}
			if op.Summary == "" || !strings.Contains(op.Description, ".") || len(op.Tags) != 1 || !tags[op.Tags[0]] || !strings.HasPrefix(path, base+"/") {
				t.Errorf("%s %s: %q, %q, %v", op.OperationID, path, op.Summary, op.Description, op.Tags)
			}
			for _, p := range op.Parameters {
				if p.Description == "" {
					t.Errorf("%s: the parameter %s has no description", op.OperationID, p.Name)
				}
			}
			if op.RequestBody != nil {
				checkExample(t, doc, op.OperationID+" request", op.RequestBody.Content["application/json"], huma.ModeWriteToServer)
			}
			if ok := op.Responses["200"]; ok == nil {
				t.Errorf("%s has no answer", op.OperationID)
			} else if m := ok.Content["application/json"]; m != nil {
				checkExample(t, doc, op.OperationID+" answer", m, huma.ModeReadFromServer)
			}
			checkExample(t, doc, op.OperationID+" problem", op.Responses["default"].Content["application/problem+json"], huma.ModeReadFromServer)
			if _, huma := op.Responses["422"]; huma {
				t.Errorf("%s has an error that is no problem of ours", op.OperationID)
			}
		}
	}
	if doc.Components.Schemas.Map()["ErrorModel"] != nil {
		t.Error("the library's own error is among the schemas")
	}
}

func checkExample(t *testing.T, doc *huma.OpenAPI, what string, m *huma.MediaType, mode huma.ValidateMode) {
	t.Helper()
	if m == nil || m.Schema == nil || m.Example == nil {
		t.Errorf("%s: no schema or no example", what)
		return
	}
	result := &huma.ValidateResult{}
	huma.Validate(doc.Components.Schemas, m.Schema, huma.NewPathBuffer(nil, 0), mode, m.Example, result)
	for _, err := range result.Errors {
		t.Errorf("%s: the example does not fit: %v", what, err)
	}
}

func TestTheDocumentSaysWhichFieldsOfAnAnswerAreAlwaysThere(t *testing.T) {
	st := newSite(t, nil)
	s := st.api.OpenAPI().Components.Schemas.Map()["Point"]
	required := strings.Join(s.Required, " ")
	for _, name := range []string{"id", "machine", "disks", "sizes"} {
		if !strings.Contains(" "+required+" ", " "+name+" ") {
			t.Errorf("%s of a point is not said to be there always: %s", name, required)
		}
	}
	if strings.Contains(required, "quiesced") || s.AdditionalProperties != true || s.Properties["disks"].Nullable || s.Properties["time"].Format != "date-time" {
		t.Errorf("the schema of a point: %+v", s)
	}
}

func TestTheDocumentIsServedInBothVersionsToWhoMaySeeAnything(t *testing.T) {
	st := newSite(t, nil)
	for _, name := range []string{"openapi.json", "openapi-3.0.json", "openapi.yaml"} {
		if w := st.ask(st.secret(t, "viewer"), http.MethodGet, base+"/"+name, ""); w.Code != 200 || w.Body.Len() < 1000 {
			t.Errorf("%s: %d, %d bytes", name, w.Code, w.Body.Len())
		}
	}
	w := st.ask("hf_no", http.MethodGet, base+"/openapi.json", "")
	var p api.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); w.Code != 401 || err != nil || p.Exit != 8 {
		t.Errorf("without a token: %d %s", w.Code, w.Body)
	}
}
