package access_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

var start = time.Date(2026, 11, 22, 22, 0, 0, 0, time.UTC)

// clock is a time that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func open(t testing.TB, dir string, c *clock) *access.Store {
	t.Helper()
	s, err := access.Open(dir, access.Options{UID: -1, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestARoleMayWhatThoseBelowItMayAndItsOwn(t *testing.T) {
	roles := []access.Role{access.Viewer, access.Restorer, access.Operator, access.Admin}
	least := map[access.Permission]int{
		access.See:   0,
		access.Names: 1, access.Read: 1, access.Restore: 1,
		access.Backup: 2, access.Verify: 2, access.Mount: 2,
		access.Protect: 3, access.Policies: 3, access.Delete: 3, access.Lock: 3, access.Tokens: 3, access.Audit: 3, access.Lend: 3,
	}
	for i, r := range roles {
		for p, from := range least {
			if r.Allows(p) != (i >= from) {
				t.Errorf("%s %s: %v", r, p, r.Allows(p))
			}
		}
		for _, p := range r.Permissions() {
			if from, known := least[p]; !known || from > i {
				t.Errorf("%s has %s", r, p)
			}
		}
	}
	for _, r := range []access.Role{"", "root", access.None} {
		if r.Allows(access.See) || len(r.Permissions()) > 0 {
			t.Errorf("%q may something", r)
		}
	}
	if access.Admin.Allows("fly") || access.Admin.Allows("") {
		t.Error("an admin may what there is not")
	}
}

func TestARefusalCarriesTheLineThatWouldGrantIt(t *testing.T) {
	s := open(t, t.TempDir(), &clock{now: start})
	p, _ := bearer(t, s, api.TokenRequest{Name: "x", Role: "viewer", Machines: []string{"web1"}})
	for _, row := range []struct {
		what    access.Permission
		machine string
		want    string
	}{
		{access.Restore, "web1", "holdfast grant token:x restore --machines web1"},
		{access.Delete, "", "holdfast grant token:x admin --machines '*'"},
		{access.Backup, "a b'; rm", "holdfast grant token:x operate --machines '*'"},
		{access.See, "web2", "holdfast grant token:x view --machines web2"},
	} {
		r := p.Refuse(row.what, row.machine)
		if r.Command() != row.want {
			t.Errorf("%s", r.Command())
		}
		words := strings.Fields(r.Command())
		if _, err := s.Grant(api.GrantRequest{Who: words[2], Role: words[3], Machines: []string{strings.Trim(words[5], "'")}}, "root"); err != nil {
			t.Errorf("what it says cannot be done: %v", err)
		}
		again, err := s.Again(p)
		if err != nil || !again.MayAll(row.what) && !again.May(row.what, row.machine) {
			t.Errorf("%s did not grant it: %v", r.Command(), err)
		}
	}
}

func bearer(t testing.TB, s *access.Store, r api.TokenRequest) (*access.Principal, string) {
	t.Helper()
	nt, err := s.CreateToken(r, "root")
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Bearer(nt.Secret, "192.0.2.1:1")
	if err != nil {
		t.Fatal(err)
	}
	return p, nt.Secret
}

func TestAGrantCoversTheMachinesOfItsGlobs(t *testing.T) {
	s := open(t, t.TempDir(), &clock{now: start})
	p, _ := bearer(t, s, api.TokenRequest{Name: "x", Role: "operator", Machines: []string{"web*", "db[12]"}})
	for name, want := range map[string]bool{"web1": true, "web": true, "db1": true, "db3": false, "xweb1": false, "": false, "Web1": false} {
		if p.May(access.Backup, name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	if p.MayAll(access.Backup) || p.MayAll(access.See) || !p.MaySome(access.Backup) || p.MaySome(access.Delete) || p.May(access.Delete, "web1") {
		t.Error("globs are not all machines, and an operator is no admin")
	}
	all, _ := bearer(t, s, api.TokenRequest{Name: "y", Role: "viewer"})
	if !all.MayAll(access.See) || !all.May(access.See, "whatever") {
		t.Error("without globs it is for all machines")
	}
	odd, _ := bearer(t, s, api.TokenRequest{Name: "z", Role: "viewer", Machines: []string{"**"}})
	if odd.MayAll(access.See) {
		t.Error("only * stands for what belongs to no machine")
	}
}

func TestGrantsAndTokensAreThereAgainAfterARestart(t *testing.T) {
	dir, c := t.TempDir(), &clock{now: start}
	s := open(t, dir, c)
	if _, err := s.Grant(api.GrantRequest{Who: "user:anna", Role: "restore", Machines: []string{"web*"}}, "root"); err != nil {
		t.Fatal(err)
	}
	_, secret := bearer(t, s, api.TokenRequest{Name: "grafana", Role: "viewer"})
	grants, tokens := fmt.Sprintf("%+v", s.Grants()), fmt.Sprintf("%+v", s.Tokens()[0].Grants)
	s = open(t, dir, c)
	if got := fmt.Sprintf("%+v", s.Grants()); stripped(got) != stripped(grants) {
		t.Errorf("%s\nbecame\n%s", grants, got)
	}
	if got := fmt.Sprintf("%+v", s.Tokens()[0].Grants); stripped(got) != stripped(tokens) {
		t.Errorf("%s became %s", tokens, got)
	}
	if p, err := s.Bearer(secret, "192.0.2.1:1"); err != nil || p.Name != "token:grafana" {
		t.Errorf("%+v %v", p, err)
	}
	if used := s.Tokens()[0]; used.LastUsed == nil || used.LastFrom != "192.0.2.1:1" {
		t.Errorf("its last use: %+v", used)
	}
	info, err := os.Stat(filepath.Join(dir, "access.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if gone, err := s.Revoke(api.GrantRequest{Who: "anna", Role: "viewer"}); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("revoking another role: %v %v", gone, err)
	}
	if gone, err := s.Revoke(api.GrantRequest{Who: "anna"}); err != nil || len(gone) != 1 || gone[0].Role != "restorer" {
		t.Errorf("revoking: %v %v", gone, err)
	}
	if _, err := s.Grant(api.GrantRequest{Who: "token:none", Role: "viewer"}, "root"); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("a grant for a token that there is not: %v", err)
	}
}

// stripped leaves addresses of pointers out of what was printed.
func stripped(s string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(s), func(w string) bool { return strings.Contains(w, "0x") }), " ")
}

func TestATokenEndsWhenItExpiresOrIsRevokedAndOnlyItsHashIsKept(t *testing.T) {
	dir, c := t.TempDir(), &clock{now: start}
	s := open(t, dir, c)
	expires := api.At(start.Add(time.Hour))
	p, secret := bearer(t, s, api.TokenRequest{Name: "short", Role: "admin", Expires: &expires})
	forever, kept := bearer(t, s, api.TokenRequest{Name: "long", Role: "viewer"})
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{secret, kept} {
			key := s[strings.LastIndex(s, "_")+1:]
			if strings.Contains(string(b), key) || strings.Contains(string(b), key[:20]) {
				t.Errorf("%s holds the secret", file)
			}
		}
	}
	for _, wrong := range []string{"", "hf_", secret + "0", secret[:len(secret)-1], strings.ToUpper(secret), secret[:20] + kept[20:], "Bearer " + secret, strings.Repeat("a", 1<<20)} {
		if _, err := s.Bearer(wrong, "x"); !errors.Is(err, access.ErrLogin) {
			t.Errorf("%.50s was let in: %v", wrong, err)
		}
	}
	c.add(time.Hour - time.Second)
	if _, err := s.Bearer(secret, "x"); err != nil {
		t.Errorf("a second before: %v", err)
	}
	c.add(time.Second)
	if _, err := s.Bearer(secret, "x"); !errors.Is(err, access.ErrLogin) {
		t.Errorf("when it expires: %v", err)
	}
	if _, err := s.Again(p); !errors.Is(err, access.ErrLogin) {
		t.Errorf("what lasts: %v", err)
	}
	if list := s.Tokens(); !list[1].Expired || list[0].Expired {
		t.Errorf("%+v", list)
	}
	if err := s.RevokeToken("long"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Bearer(kept, "x"); !errors.Is(err, access.ErrLogin) {
		t.Errorf("a revoked one: %v", err)
	}
	if _, err := s.Again(forever); !errors.Is(err, access.ErrLogin) {
		t.Errorf("what lasts by a revoked one: %v", err)
	}
	if err := s.RevokeToken("long"); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("revoked twice: %v", err)
	}
	// A new one of the same name has nothing of the old one.
	if p, _ := bearer(t, s, api.TokenRequest{Name: "long", Role: "viewer", Machines: []string{"web1"}}); p.MayAll(access.See) {
		t.Error("it has what the old one had")
	}
	if _, err := s.CreateToken(api.TokenRequest{Name: "long", Role: "viewer"}, "root"); !errors.Is(err, access.ErrExists) {
		t.Errorf("made twice: %v", err)
	}
}

func TestAFileThatMakesNoSenseLetsNobodyIn(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "no JSON": "{", "a list": "[]", "another version": `{"version":2}`, "no version": `{}`,
		"an unknown role":  `{"version":1,"grants":[{"who":"anna","role":"god","machines":["*"]}]}`,
		"an alias of one":  `{"version":1,"grants":[{"who":"anna","role":"restore","machines":["*"]}]}`,
		"a broken glob":    `{"version":1,"grants":[{"who":"anna","role":"viewer","machines":["[a"]}]}`,
		"nobody":           `{"version":1,"grants":[{"who":"","role":"viewer","machines":["*"]}]}`,
		"another's form":   `{"version":1,"grants":[{"who":"user:anna","role":"viewer","machines":["*"]}]}`,
		"a short hash":     `{"version":1,"tokens":[{"name":"x","id":"0011223344556677","hash":"00"}]}`,
		"an empty hash":    `{"version":1,"tokens":[{"name":"x","id":"0011223344556677","hash":""}]}`,
		"a name of a path": `{"version":1,"tokens":[{"name":"../x","id":"0011223344556677","hash":"` + strings.Repeat("00", 32) + `"}]}`,
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "access.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := access.Open(dir, access.Options{}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if b, _ := os.ReadFile(path); string(b) != text {
			t.Errorf("%s was changed", name)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "access.json"), []byte(`{"version":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "access.json"), 0o622); err != nil {
		t.Fatal(err)
	}
	if _, err := access.Open(dir, access.Options{}); err == nil || !strings.Contains(err.Error(), "others") {
		t.Errorf("a file that others can write: %v", err)
	}
}

func TestWhatCannotBeKeptIsNotGranted(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, &clock{now: start})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Grant(api.GrantRequest{Who: "anna", Role: "admin"}, "root"); err == nil {
		t.Error("it was granted")
	}
	if _, err := s.CreateToken(api.TokenRequest{Name: "x", Role: "admin"}, "root"); err == nil || len(s.Tokens()) > 0 {
		t.Error("it was made")
	}
	for _, g := range s.Grants() {
		if !g.Fixed {
			t.Errorf("it is there: %+v", g)
		}
	}
}

func TestManyChangesAtOnceAreAllKept(t *testing.T) {
	dir, c := t.TempDir(), &clock{now: start}
	s := open(t, dir, c)
	var wait sync.WaitGroup
	for i := range 20 {
		wait.Go(func() {
			who := fmt.Sprintf("user%02d", i)
			if _, err := s.Grant(api.GrantRequest{Who: who, Role: "viewer"}, "root"); err != nil {
				t.Error(err)
			}
			s.Grants()
		})
	}
	wait.Wait()
	if n := len(open(t, dir, c).Grants()); n != 22 { // with those of root and of the group
		t.Errorf("%d grants", n)
	}
}

func TestWhoOneIsIsWrittenInOneWay(t *testing.T) {
	for in, want := range map[string]string{"anna": "anna", "user:anna": "anna", "group:ops": "group:ops", "token:x": "token:x", "1000": "1000",
		`DOM\anna`: `DOM\anna`, "anna@example.org": "anna@example.org",
		"": "", "user:": "", "role:x": "", "a b": "", "-x": "", "a:b:c": "", "group:a:b": "", "a/b": "", "a'b": "", "a\x00": "", "a\u202e\n": "", "*": ""} {
		got, err := access.ParseWho(in)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

func FuzzWhoeverIsUnderstoodIsUnderstoodAgain(f *testing.F) {
	for _, s := range []string{"anna", "user:anna", "group:ops", "token:grafana", "a:b", "", "user:user:x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		who, err := access.ParseWho(s)
		if err != nil {
			return
		}
		if again, err := access.ParseWho(who); err != nil || again != who {
			t.Errorf("%q is %q, which is %q, %v", s, who, again, err)
		}
	})
}

func FuzzAFileOfGrantsIsUnderstoodOrRefused(f *testing.F) {
	f.Add([]byte(`{"version":1,"grants":[{"who":"anna","role":"viewer","machines":["web*"]}],"tokens":[{"name":"x","id":"0011223344556677","hash":"` + strings.Repeat("0f", 32) + `"}]}`))
	f.Add([]byte(`{"version":1,"grants":null,"tokens":[{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "access.json"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := access.Open(dir, access.Options{})
		if err != nil {
			return
		}
		if _, err := s.Bearer("hf_0011223344556677_"+strings.Repeat("00", 32), "x"); err == nil {
			t.Error("a guess was let in")
		}
		if _, err := s.Grant(api.GrantRequest{Who: "anna", Role: "viewer"}, "root"); err != nil {
			t.Errorf("what was understood cannot be kept: %v", err)
		}
		if _, err := access.Open(dir, access.Options{}); err != nil {
			t.Errorf("what was kept is not understood: %v", err)
		}
	})
}
