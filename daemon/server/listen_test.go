package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

func TestASocketTakesThePlaceOfOneThatNobodyAnswersOnAndOfNothingElse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "api.sock")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(path, ""); !errors.Is(err, ErrAnswered) {
		t.Errorf("where another answers: %v", err)
	}
	old.SetUnlinkOnClose(false)
	old.Close() // as a process does that is killed
	l, err := ListenUnix(path, "no-such-group")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("without a group the socket is %v, %v", info.Mode(), err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(path, ""); err == nil {
		t.Error("a file was replaced")
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("the file holds %q", b)
	}
	if _, err := ListenUnix("/nowhere/at/all/api.sock", ""); err == nil {
		t.Error("there is no such folder")
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestASocketIsForItsGroup(t *testing.T) {
	t.Parallel()
	needRoot(t)
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := ListenUnix(path, "mail")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
}

// certificate writes a certificate for localhost and its key.
func certificate(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestOverTheNetworkItTakesTLSAndAToken(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	cert, key := certificate(t, t.TempDir(), "one")
	l, err := ListenTLS("127.0.0.1:0", cert, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- st.Serve(ctx, l) }()
	defer func() {
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	client := func(token, ca string) *api.Client {
		c, err := api.NewClient(api.ClientOptions{URL: "https://localhost:" + port, Token: token, CAFile: ca})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	good := client(st.secret(t, "operator", "web*"), cert)
	who, err := good.WhoAmI(ctx)
	if err != nil || who.Name != "token:t0-operator" || who.Trusted || !strings.HasPrefix(who.From, "127.0.0.1:") {
		t.Errorf("%+v %v", who, err)
	}
	if err := good.Follow(ctx, "j-web1", func(api.JobEvent) error { return nil }); err != nil {
		t.Errorf("following: %v", err)
	}
	if _, err := client("hf_wrong", cert).WhoAmI(ctx); !isExit(err, 8) {
		t.Errorf("a wrong token: %v", err)
	}
	if _, err := client(st.secret(t, "viewer"), "").WhoAmI(ctx); !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
	if resp, err := http.Get("http://" + l.Addr().String() + base + "/whoami"); err == nil {
		if resp.Body.Close(); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("without TLS it answers %s", resp.Status)
		}
	} else {
		t.Errorf("who speaks no TLS is not told so: %v", err)
	}
	if c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		c.Close()
		t.Error("it speaks TLS 1.1")
	}
}

func TestACertificateIsReadAgainWhenItChangesAndKeptWhenTheNewOneIsNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := certificate(t, dir, "one")
	k := &keyPair{cert: cert, key: key, log: slog.New(slog.DiscardHandler)}
	if err := k.load(); err != nil {
		t.Fatal(err)
	}
	named := func() string {
		k.looked = time.Time{}
		pair, err := k.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.Subject.CommonName
	}
	if n := named(); n != "one" {
		t.Errorf("at first: %s", n)
	}
	if err := os.WriteFile(cert, []byte("half a cert"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := named(); n != "one" {
		t.Errorf("while it is broken: %s", n)
	}
	certificate(t, dir, "two, and longer")
	if n := named(); n != "two, and longer" {
		t.Errorf("when it is new: %s", n)
	}
	os.Remove(key)
	if n := named(); n != "two, and longer" {
		t.Errorf("when it is gone: %s", n)
	}
	if _, err := ListenTLS("127.0.0.1:0", cert, key, nil); err == nil {
		t.Error("it listens without a key")
	}
}

func TestAClientSaysWhenNoDaemonAnswers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "api.sock")
	c, err := api.NewClient(api.ClientOptions{Socket: path, Patience: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Vaults(t.Context()); !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("no socket: %v", err)
	}
	if err := c.Follow(t.Context(), "j1", nil); !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("following: %v", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go http.Serve(l, http.NotFoundHandler()) // ends with the listener
	defer l.Close()
	var p *api.Problem
	if _, err := c.Vaults(t.Context()); !errors.As(err, &p) || p.Status != 404 || p.Exit != 1 {
		t.Errorf("something else that answers: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Vaults(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, api.ErrUnreachable) {
		t.Errorf("a context that ended: %v", err)
	}
	for _, url := range []string{"", "http://host", "https://", "https://u:p@host", "https://host/path", "host:1"} {
		if _, err := api.NewClient(api.ClientOptions{URL: url}); err == nil {
			t.Errorf("%q was taken for an address", url)
		}
	}
}
