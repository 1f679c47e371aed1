package server

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// asked is a request to each endpoint, and who may make it: the least role, and whether it
// takes that role for all machines. The requests are about web1.
var asked = map[string]struct {
	path, body string
	least      string // "": anybody
	all        bool
	audited    bool
}{
	"who-am-i":      {path: "/whoami"},
	"list-vaults":   {path: "/vaults", least: "viewer"},
	"list-machines": {path: "/vaults/main/machines", least: "viewer"},
	"list-points":   {path: "/vaults/main/points?machine=web1", least: "viewer"},
	"list-trash":    {path: "/vaults/main/trash", least: "viewer"},
	"list-policies": {path: "/vaults/main/policies", least: "viewer"},
	"plan-prune":    {path: "/vaults/main/prune?machine=web1", least: "viewer"},
	"metrics":       {path: "/metrics", least: "viewer", all: true},

	"list-jobs":  {path: "/jobs", least: "viewer"},
	"show-job":   {path: "/jobs/j-web1", least: "viewer"},
	"follow-job": {path: "/jobs/j-web1/events", least: "viewer"},
	"start-job":  {path: "/jobs", body: `{"kind":"backup","vault":"main","machine":"web1"}`, least: "operator", audited: true},
	"cancel-job": {path: "/jobs/j-web1/cancel", least: "operator", audited: true},
	"retry-job":  {path: "/jobs/j-web1/retry", least: "operator", audited: true},

	"read-disk":       {path: "/vaults/main/machines/web1/points/latest/disks/vda", least: "restorer", audited: true},
	"list-volumes":    {path: "/vaults/main/machines/web1/points/latest/volumes", least: "restorer", audited: true},
	"list-folder":     {path: "/vaults/main/machines/web1/points/latest/files?path=/etc", least: "restorer", audited: true},
	"show-file":       {path: "/vaults/main/machines/web1/points/latest/files/stat?path=/etc/passwd", least: "restorer", audited: true},
	"unlock-guest":    {path: "/vaults/main/machines/web1/points/latest/unlock", body: `{"passphrases":["x"]}`, least: "restorer", audited: true},
	"lock-guest":      {path: "/vaults/main/machines/web1/points/latest/lock", least: "restorer", audited: true},
	"download-file":   {path: "/vaults/main/machines/web1/points/latest/files/content?path=/etc/passwd", least: "restorer", audited: true},
	"download-folder": {path: "/vaults/main/machines/web1/points/latest/files/archive?path=/etc&format=zip", least: "restorer", audited: true},
	"map-disk":        {path: "/vaults/main/machines/web1/points/latest/disks/vda/map?offset=1024", least: "restorer"},
	"compare-disk":    {path: "/vaults/main/machines/web1/points/p1/disks/vda/diff?machine=web1&point=p2", least: "restorer"},
	"read-config":     {path: "/vaults/main/machines/web1/points/latest/config/domain.xml", least: "restorer", audited: true},
	"file-history":    {path: "/vaults/main/machines/web1/history?path=/etc/passwd", least: "restorer", audited: true},
	"compare-files":   {path: "/vaults/main/machines/web1/points/p1/files/diff?path=/etc&with_machine=web1&with_point=latest&with_path=/etc", least: "restorer", audited: true},
	"change-points":   {path: "/vaults/main/points/change", body: `{"change":"delete","points":[{"machine":"web1","point":"latest"}]}`, least: "admin", audited: true},
	"give-up-point":   {path: "/vaults/main/points/give-up", body: `{"machine":"web1","point":"p1"}`, least: "admin", audited: true},

	"search-files":    {path: "/vaults/main/machines/web1/search?name=*.xlsx&deleted=true", least: "restorer", audited: true},
	"list-catalogues": {path: "/vaults/main/machines/web1/catalogues", least: "restorer", audited: true},
	"share-memory":    {path: "/memory", least: "restorer"},

	"protect-machine":   {path: "/vaults/main/machines", body: `{"name":"web1","domain":"web1"}`, least: "admin", all: true, audited: true},
	"unprotect-machine": {path: "/vaults/main/machines/web1/unprotect", body: `{}`, least: "admin", audited: true},
	"rename-machine":    {path: "/vaults/main/machines/web1/rename", body: `{"to":"web9"}`, least: "admin", all: true, audited: true},
	"hold-machine":      {path: "/vaults/main/machines/web1/hold", body: `{"until":"2030-01-01T00:00:00Z"}`, least: "operator", audited: true},
	"release-machine":   {path: "/vaults/main/machines/web1/release", least: "operator", audited: true},
	"hold-machines":     {path: "/vaults/main/hold", body: `{"until":"2030-01-01T00:00:00Z"}`, least: "operator", all: true, audited: true},
	"release-machines":  {path: "/vaults/main/release", least: "operator", all: true, audited: true},
	"status":            {path: "/status", least: "viewer"},
	"usage":             {path: "/vaults/main/usage", least: "viewer"},
	"ignore":            {path: "/ignore", body: `{"names":["x"]}`, least: "admin", all: true, audited: true},
	"set-policies":      {path: "/vaults/main/policies", body: `{"policies":[{"name":"nightly","machines":["web*"]}]}`, least: "admin", all: true, audited: true},
	"remove-policy":     {path: "/vaults/main/policies/nightly", least: "admin", all: true, audited: true},
	"lend-vault":        {path: "/vaults/main/lend", least: "admin", all: true, audited: true},

	"list-grants":  {path: "/access/grants", least: "admin", all: true},
	"grant":        {path: "/access/grants", body: `{"who":"anna","role":"viewer"}`, least: "admin", all: true, audited: true},
	"revoke":       {path: "/access/revoke", body: `{"who":"bert"}`, least: "admin", all: true, audited: true},
	"list-tokens":  {path: "/access/tokens", least: "admin", all: true},
	"create-token": {path: "/access/tokens", body: `{"name":"new","role":"viewer"}`, least: "admin", all: true, audited: true},
	"revoke-token": {path: "/access/tokens/old", least: "admin", all: true, audited: true},
	"list-audit":   {path: "/audit", least: "admin", all: true},
}

// endpoints lists the operations of the OpenAPI document, with their methods.
func endpoints(t *testing.T, st *site) map[string]string {
	t.Helper()
	w := st.ask(st.secret(t, "viewer", "db1"), http.MethodGet, base+"/openapi.json", "")
	var doc struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || w.Code != 200 {
		t.Fatalf("the OpenAPI document: %d %v", w.Code, err)
	}
	found := map[string]string{}
	for _, item := range doc.Paths {
		for method, op := range item {
			found[op.OperationID] = strings.ToUpper(method)
		}
	}
	return found
}

func TestEachEndpointDoesForARoleWhatTheTableSaysAndNothingElse(t *testing.T) {
	found := endpoints(t, newSite(t, nil))
	for id := range asked {
		if found[id] == "" {
			t.Errorf("%s is in the table, but not in the OpenAPI document", id)
		}
	}
	roles := []string{"", "viewer", "restorer", "operator", "admin"}
	for id, method := range found {
		row, known := asked[id]
		if !known {
			t.Errorf("%s %s is in the OpenAPI document, but not in the table: who may do it?", method, id)
			continue
		}
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			st := newSite(t, nil)
			for i, role := range roles {
				for _, globs := range [][]string{{"*"}, {"web1"}, {"db1"}} {
					may := row.least == "" || i > 0 && i >= slices.Index(roles, row.least) && (globs[0] == "*" || !row.all && (globs[0] == "web1" || aboutMany[id]))
					checkAsked(t, st, id, method, role, globs, may)
				}
			}
		})
	}
}

// aboutMany are endpoints that a caller may ask whatever machines it may see: the answer is
// filtered.
var aboutMany = map[string]bool{"list-vaults": true, "list-machines": true, "list-trash": true, "list-policies": true, "list-jobs": true, "status": true, "usage": true, "share-memory": true}

func checkAsked(t *testing.T, st *site, id, method, role string, globs []string, may bool) {
	t.Helper()
	row, before := asked[id], len(st.entries(t))
	st.store.CreateToken(api.TokenRequest{Name: "old", Role: "viewer"}, "the test") // is there already, or was revoked
	st.store.RevokeToken("new")
	if _, err := st.store.Grant(api.GrantRequest{Who: "bert", Role: "viewer"}, "the test"); err != nil {
		t.Fatal(err)
	}
	secret := ""
	if role != "" {
		secret = st.secret(t, role, globs...)
	} else { // somebody to whom nothing is granted
		st.store.RevokeToken("bare")
		bare, err := st.store.CreateToken(api.TokenRequest{Name: "bare", Role: "viewer", Machines: globs}, "the test")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.store.Revoke(api.GrantRequest{Who: "token:bare"}); err != nil {
			t.Fatal(err)
		}
		secret = bare.Secret
	}
	st.fake.called()
	if id == "lend-vault" {
		st.follow.close() // else it lasts; who gets so far was let in
		if may {
			if w := st.ask(secret, method, base+row.path, row.body); w.Code != 429 {
				t.Errorf("%s as %s for %v: %d %s", id, role, globs, w.Code, w.Body)
			}
			return
		}
	}
	w := st.ask(secret, method, base+row.path, row.body)
	if id == "share-memory" && w.Code == 422 && len(st.entries(t)) == before {
		w.Code = 200 // who gets so far was let in, and no memory came
	}
	hidden := !may && w.Code == 404 && strings.HasSuffix(id, "-job") && role != "" // a job of another machine is not there
	if may && w.Code != 200 || !may && w.Code != 403 && !hidden {
		t.Errorf("%s as %q for %v: %d %s", id, role, globs, w.Code, w.Body)
	}
	var p api.Problem
	if !may {
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Exit != 8 && !hidden || p.Status != w.Code {
			t.Errorf("%s as %q: the refusal is %s", id, role, w.Body)
		}
		if !hidden && !strings.Contains(p.Hint, "holdfast grant token:") {
			t.Errorf("%s as %q: the refusal does not say what would grant it: %s", id, role, w.Body)
		}
		for _, c := range st.fake.called() {
			if c != "Machines" && c != "Job" {
				t.Errorf("%s as %q for %v was refused, and done all the same: %s", id, role, globs, c)
			}
		}
	}
	st.reads = reads{} // each reading is the first
	checkAudited(t, st.entries(t)[before:], id, row.audited, may, hidden)
}

// checkAudited wants a line of each change and of each refusal, and none of looking.
func checkAudited(t *testing.T, entries []api.AuditEntry, id string, audited, may, hidden bool) {
	t.Helper()
	if want := audited || !may && !hidden; want != (len(entries) == 1) {
		t.Errorf("%s (allowed: %v) left %d lines in the audit log: %v", id, may, len(entries), entries)
		return
	}
	if len(entries) == 1 {
		e := entries[0]
		outcome := map[bool]string{true: api.AuditDone, false: api.AuditRefused}[may]
		if hidden {
			outcome = api.AuditFailed
		}
		if e.Action != id || e.Outcome != outcome || !strings.HasPrefix(e.Who, "token:") || e.From == "" || e.Time.IsZero() {
			t.Errorf("%s (allowed: %v) left the line %+v", id, may, e)
		}
	}
}
