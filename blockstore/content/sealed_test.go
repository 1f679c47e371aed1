package content

import (
	"bytes"
	"encoding/base64"
	"testing"
)

func TestASealedRecordOpensOnlyWhereItBelongs(t *testing.T) {
	k := Derive(Secret{1})
	head, body := []byte("holdfast point 1 aes-256-gcm\n"), []byte("{\"reason\": \"secret\"}\n")
	sealed := SealRecord(k, "points/a/1", head, body)
	if bytes.Contains(sealed, []byte("secret")) || bytes.Equal(sealed, SealRecord(k, "points/a/1", head, body)) {
		t.Errorf("sealed as %q, or the same twice", sealed)
	}
	if got, err := OpenRecord(k, "points/a/1", head, sealed); err != nil || !bytes.Equal(got, body) {
		t.Errorf("opened to %q, %v", got, err)
	}
	for name, err := range map[string]error{
		"another path":   second(OpenRecord(k, "points/a/2", head, sealed)),
		"another head":   second(OpenRecord(k, "points/a/1", []byte("holdfast machine 1 aes-256-gcm\n"), sealed)),
		"another secret": second(OpenRecord(Derive(Secret{2}), "points/a/1", head, sealed)),
		"cut":            second(OpenRecord(k, "points/a/1", head, sealed[:len(sealed)-2])),
		"nothing":        second(OpenRecord(k, "points/a/1", head, nil)),
		"short":          second(OpenRecord(k, "points/a/1", head, []byte("AAAA\n"))),
	} {
		if err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	raw, err := base64.StdEncoding.DecodeString(string(sealed[:len(sealed)-1]))
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 0x80
		if got, err := OpenRecord(k, "points/a/1", head, append([]byte(base64.StdEncoding.EncodeToString(bad)), '\n')); err == nil {
			t.Fatalf("byte %d altered: opened to %q", i, got)
		}
	}
}

func second(_ []byte, err error) error { return err }

func FuzzOpenRecord(f *testing.F) {
	k := Derive(Secret{1})
	head := []byte("holdfast point 1 aes-256-gcm\n")
	f.Add(SealRecord(k, "p", head, []byte("{}\n")))
	f.Add([]byte("\n"))
	f.Add([]byte("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		body, err := OpenRecord(k, "p", head, text)
		if err == nil && string(body) != "{}\n" {
			t.Errorf("opened to %q", body)
		}
	})
}
