package config

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

const small = "vaults:\n  - path: /srv/vault\n"

func TestAFileThatSaysLittleMeansWhatIsUsual(t *testing.T) {
	t.Parallel()
	c, err := Read([]byte(small), "Europe/Berlin", nil)
	if err != nil {
		t.Fatal(err)
	}
	v := c.Vaults[0]
	if c.Jobs.AtOnce != 2 || c.Jobs.ReadDepth != 8 || c.Memory.Bytes() != 128<<20 || c.Jobs.History.Duration() != 90*24*time.Hour || v.Timezone != "Europe/Berlin" || v.Prune == "" {
		t.Errorf("%+v", c)
	}
	if next := v.Sweep.Schedule(v.Timezone).Next(time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)); !next.Equal(time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC)) {
		t.Errorf("the first sweep is %v", next)
	}
	text, err := c.Text()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Read(text, "UTC", nil)
	if err != nil || !reflect.DeepEqual(c, again) {
		t.Errorf("%+v, %v\nwritten and read again: %+v\n%s", c, err, again, text)
	}
}

func TestWhatIsWrongNamesLineAndKey(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                             "it is empty",
		"vaults: []":                   "line 1: vaults: no vault is named",
		"jobs: {at-once: 1}":           "vaults: no vault is named",
		small + "vault: x":             `line 3: unknown field "vault"`,
		small + "    pth: x":           `line 3: unknown field "pth"`,
		small + "    sweep: someday":   "line 3: vaults[0].sweep:",
		small + "    timezone: Mars":   "line 3: vaults[0].timezone:",
		small + "    min-free: 5 %":    "line 3: vaults[0].min-free:",
		small + "    at-once: 65":      "line 3: vaults[0].at-once:",
		small + "    name: a/b":        "line 3: vaults[0].name:",
		small + "    credential: ..":   "line 3: vaults[0].credential:",
		small + "    identity: [x]":    "line 3: vaults[0].identity[0]:",
		small + "  - path: /srv/vault": "line 3: vaults[1]: it is named twice",
		small + "  - path: srv":        "line 3: vaults[1].path:",
		small + "  - {path: /b, sweep: never, passphrase-file: /x, credential: y}": "line 3: vaults[1].credential:",
		small + "jobs: {at-once: 0}":                          "line 3: jobs.at-once: 0",
		small + "jobs: {at-once: many}":                       "line 3:",
		small + "jobs:\n  history: long":                      "line 4: jobs.history:",
		small + "memory: 1MiB":                                "line 3: memory:",
		small + "state: here":                                 "line 3: state:",
		small + "log: {format: xml}":                          "line 3: log.format:",
		small + "listen: {tcp: 1.2.3.4}":                      "line 3: listen.tcp:",
		small + "listen: {tcp: '0.0.0.0:1', certificate: /c}": "line 3: listen.key: it is missing",
		small + "listen: {key: /c}":                           "line 3: listen: there is a certificate",
		small + "mount: {allow-other: true}":                  "line 3: mount:",
		small + "restore-folders: [/a, b]":                    "line 3: restore-folders[1]:",
		small + "notifications: {}":                           "nobody who sends them",
		small + "scratch: {cap: 1GB}":                         "line 3: scratch.cap:",
		small + "run: *here":                                  "line 3:",
		"vaults: 3":                                           "line 1:",
	} {
		_, err := Read([]byte(text), "UTC", nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v\nwant %q", text, err, want)
		}
	}
}

func TestEverythingThatIsWrongIsToldInTheOrderOfTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte("memory: 1MiB\nvaults:\n  - path: x\njobs:\n  at-once: 99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := ReadFile(path, "UTC", nil)
	if err == nil || !regexp.MustCompile(`(?s)^configuration /.*line 1: memory.*line 3: vaults\[0\].path.*line 5: jobs.at-once`).MatchString(err.Error()) {
		t.Errorf("%v", err)
	}
	if _, err := ReadFile(path+"x", "UTC", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

type notes struct {
	URL string `yaml:"url"`
}

func (n *notes) Check() error {
	if n.URL == "" {
		return errors.New("url is missing")
	}
	return nil
}

func TestNotificationsAreReadByWhoSendsThem(t *testing.T) {
	t.Parallel()
	var n notes
	c, err := Read([]byte(small+"notifications:\n  url: http://x\n"), "UTC", &n)
	if err != nil || n.URL != "http://x" || c.Notifications != any(&n) {
		t.Errorf("%+v, %v", n, err)
	}
	if text, err := c.Text(); err != nil || !strings.Contains(string(text), "url: http://x") {
		t.Errorf("%s, %v", text, err)
	}
	for text, want := range map[string]string{"  uri: x": `line 4: unknown field "uri"`, "  url: ''": "line 4: notifications: url is missing"} {
		if _, err := Read([]byte(small+"notifications:\n"+text), "UTC", &notes{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// The file of the package is right as it is, and so is each line of it that is commented out.
func TestTheExampleIsRight(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../integration/package/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Read(b, "Europe/Berlin", nil)
	if err != nil || len(c.Vaults) != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	usual := c
	b, notifications, found := bytes.Cut(b, []byte("# notifications:")) // which package daemon looks at
	if !found || len(notifications) == 0 {
		t.Error("nothing is said of notifications")
	}
	keys := regexp.MustCompile(`(?m)^( *)# ( *[a-z-]+:( |$))`)
	c, err = Read(keys.ReplaceAll(b, []byte("$1$2")), "Europe/Berlin", nil)
	if err == nil || strings.Contains(err.Error(), "unknown") || !strings.HasSuffix(err.Error(), "vaults[0].credential: give this or passphrase-file") || strings.Contains(err.Error(), "\n") {
		t.Errorf("with all that is commented out: %v", err)
	}
	c.Vaults[0].PassphraseFile, c.Vaults[0].Identity, c.Vaults[0].Credential, c.Vaults[0].Name, c.Vaults[0].MinFree = "", nil, "", "", ""
	c.Listen, c.RestoreFolders, c.Mount, c.Scratch, c.MetricsTextfile = usual.Listen, usual.RestoreFolders, usual.Mount, usual.Scratch, ""
	if !reflect.DeepEqual(c, usual) {
		t.Errorf("what is commented out says\n%+v\nand usual is\n%+v", c, usual)
	}
}

// secrets are files that notifications name.
type secrets []string

func (s secrets) Secrets() []string { return s }

func TestWhatIsNotThereIsDoubted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	if err := os.WriteFile(open, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c := Config{Group: "no such group", Mount: Mount{At: dir + "/mount/of/points", Group: "0"}, Vaults: []Vault{{Path: dir, PassphraseFile: open}, {Path: dir + "/none", Identity: []string{dir + "/id"}}, {Path: dir, Credential: "x"}}}
	got := strings.Join(c.Look(func(string) string { return "" }), "\n")
	for _, want := range []string{"open: others may read it", "none: no such file", "id: no such file", "credential x: systemd gave none", `no group "no such group"`} {
		if strings.Count(got, want) != 1 {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.Count(got, "\n") != 4 {
		t.Errorf("more is told:\n%s", got)
	}
	c.RestoreFolders, c.Notifications = []string{dir + "/restored"}, secrets{dir + "/slack.url", open}
	got = strings.Join(c.Look(func(string) string { return "" }), "\n")
	for _, want := range []string{"restored: no such file", "slack.url: no such file", "notifications: " + open + ": others may read it"} {
		if strings.Count(got, want) != 1 {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	c.Mount.At = open + "/mount"
	if got := strings.Join(c.Look(func(string) string { return "" }), "\n"); !strings.Contains(got, open+"/mount: ") {
		t.Errorf("where no folder can be made:\n%s", got)
	}
}

func TestAConfigurationWithoutVaultsSaysWhatToWrite(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "# nothing\n", "vaults:\n", "vaults: []\n", "state: /var/lib/x\n"} {
		if _, err := Read([]byte(text), "UTC", nil); err == nil || !strings.Contains(err.Error(), "\n  vaults:\n    - path: /srv/vault") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := Read([]byte("vaults:\n  - path: /srv/vault\n"), "UTC", nil); err != nil {
		t.Errorf("what it says to write: %v", err)
	}
	if _, err := Read([]byte("a: 1\n---\nb: 1\n"), "UTC", nil); err == nil || !strings.Contains(err.Error(), "2 documents") {
		t.Errorf("two documents: %v", err)
	}
}

func FuzzAConfigurationIsReadOrRefused(f *testing.F) {
	b, _ := os.ReadFile("../../integration/package/config.yaml")
	f.Add(string(b))
	f.Add(small)
	f.Add("vaults: {a: b}")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Read([]byte(text), "UTC", &notes{})
		if err != nil {
			return
		}
		if _, err := c.Text(); err != nil {
			t.Error(err)
		}
		for _, v := range c.Vaults {
			v.Sweep.Schedule(v.Timezone).Next(time.Now())
		}
	})
}

func TestACertificateThatEndsIsDoubted(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		left time.Duration
		mode os.FileMode
		want string
	}{
		{-time.Hour, 0o600, "it expired on "}, {24 * time.Hour, 0o600, "it expires on "}, {365 * 24 * time.Hour, 0o644, "everybody may read its key"}, {365 * 24 * time.Hour, 0o600, ""},
	} {
		dir := t.TempDir()
		cert, key := filepath.Join(dir, "c"), filepath.Join(dir, "k")
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		of := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(row.left)}
		der, err := x509.CreateCertificate(rand.Reader, of, of, &k.PublicKey, k)
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
			os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600), os.Chmod(key, row.mode)); err != nil {
			t.Fatal(err)
		}
		c := Config{Listen: Listen{TCP: "0.0.0.0:1", Certificate: cert, Key: key}}
		got := strings.Join(c.Look(func(string) string { return "" }), "\n")
		if row.want == "" && got != "" || !strings.Contains(got, row.want) {
			t.Errorf("of one that lasts %v, with a key of mode %v: %q", row.left, row.mode, got)
		}
	}
	c := Config{Listen: Listen{TCP: "0.0.0.0:1", Certificate: "/none/c", Key: "/none/k"}}
	if got := strings.Join(c.Look(func(string) string { return "" }), "\n"); !strings.Contains(got, "/none/c: no such file") {
		t.Errorf("of none: %q", got)
	}
}
