package content

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/zeebo/blake3"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// goldenSecret is 00 01 02 ... 1f.
func goldenSecret() (s Secret) {
	for i := range s {
		s[i] = byte(i)
	}
	return s
}

func TestIDsAndMACsOfAKnownSecretStayWhatTheyAre(t *testing.T) {
	k := Derive(goldenSecret())
	var b strings.Builder
	for _, text := range []string{"", "holdfast", strings.Repeat("a", 65536)} {
		for kind := Block; kind <= Blob; kind++ {
			fmt.Fprintf(&b, "%v %d %s\n", kind, len(text), k.ID(kind, []byte(text)))
		}
	}
	fmt.Fprintf(&b, "mac %x\n", k.MAC("points/x", []byte("one"), []byte("two")))
	fmt.Fprintf(&b, "pack key %x\n", k.PackKey([16]byte{1, 2, 3}))
	fmt.Fprintf(&b, "record key %x\n", k.rest)
	const golden = "testdata/ids.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// FORMAT.md says how IDs are made; this makes them that way, step by step.
func TestIDsAreMadeAsFORMATSays(t *testing.T) {
	s := goldenSecret()
	keyed := func(context string, parts ...string) (sum [32]byte) {
		var key [32]byte
		blake3.DeriveKey(context, s[:], key[:])
		h, err := blake3.NewKeyed(key[:])
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			h.WriteString(p)
		}
		h.Sum(sum[:0])
		return sum
	}
	k := Derive(s)
	for kind, context := range map[Kind]string{
		Block: "holdfast 2026 v1 id of blocks",
		Page:  "holdfast 2026 v1 id of pages",
		Blob:  "holdfast 2026 v1 id of blobs",
	} {
		if got := k.ID(kind, []byte("content")); got != ID(keyed(context, "content")) {
			t.Errorf("ID of a %v is %s", kind, got)
		}
	}
	want := keyed("holdfast 2026 v1 mac of records and segments", "\x04\x00\x00\x00", "a/bc", "body")
	if got := k.MAC("a/bc", []byte("bo"), []byte("dy")); got != want {
		t.Errorf("MAC is %x", got)
	}
}

func TestAMACHoldsForItsPathAndBodyOnly(t *testing.T) {
	k := Derive(goldenSecret())
	mac := k.MAC("a/b", []byte("body"))
	if !k.Verify(mac, "a/b", []byte("body")) {
		t.Fatal("it does not hold for these")
	}
	other := mac
	other[31] ^= 1
	for name, holds := range map[string]bool{
		"another path":     k.Verify(mac, "a/c", []byte("body")),
		"another body":     k.Verify(mac, "a/b", []byte("bodz")),
		"a shifted border": k.Verify(mac, "a/bb", []byte("ody")),
		"another MAC":      k.Verify(other, "a/b", []byte("body")),
		"another secret":   Derive(Secret{1}).Verify(mac, "a/b", []byte("body")),
	} {
		if holds {
			t.Errorf("it holds for %s", name)
		}
	}
}

func TestTextOfSecretsAndKindsReadsBackAndNothingElseDoes(t *testing.T) {
	s := goldenSecret()
	text, _ := s.MarshalText()
	var back Secret
	if err := back.UnmarshalText(text); err != nil || back != s {
		t.Errorf("secret reads back as %x, %v", back, err)
	}
	if err := back.UnmarshalText(bytes.ToUpper(text)); err == nil {
		t.Error("a secret in capitals is taken")
	}
	for kind := range Kind(8) {
		text, err := kind.MarshalText()
		if (err == nil) != kind.Valid() {
			t.Errorf("%v: %v", kind, err)
		}
		var back Kind
		if err == nil && (back.UnmarshalText(text) != nil || back != kind) {
			t.Errorf("%v reads back as %v", kind, back)
		}
	}
	var k Kind
	if err := k.UnmarshalText([]byte("Block")); err == nil {
		t.Error("kind Block is taken")
	}
}

func FuzzTextOfAnID(f *testing.F) {
	f.Add("")
	f.Add(strings.Repeat("0", 64))
	f.Add(strings.Repeat("A", 64))
	f.Add(strings.Repeat("g", 64))
	f.Add(Derive(goldenSecret()).ID(Block, nil).String())
	f.Fuzz(func(t *testing.T, s string) {
		var id ID
		err := id.UnmarshalText([]byte(s))
		if err == nil && id.String() != s {
			t.Errorf("%q reads as %s", s, id)
		}
	})
}
