package blockstore

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// Small records (VAULT, points, attributes, damage notes, machines, policies, clock, OWNER) are
// text: a line that names kind, version and seal, a line with the MAC of that line and the body
// at the record's path, and the body, one JSON object. So a person can read them without this
// program, and a record that was altered or moved is refused by it.
const (
	recordVersion = 1
	unsealed      = "plain"
	sealedWord    = "aes-256-gcm"
	maxRecord     = 4 << 20
)

type recordKind string

const (
	vaultKind     recordKind = "vault"
	pointKind     recordKind = "point"
	attributeKind recordKind = "attribute"
	damageKind    recordKind = "damage"
	machineKind   recordKind = "machine"
	policyKind    recordKind = "policy"
	ownerKind     recordKind = "owner"
	clockKind     recordKind = "clock"
	holdKind      recordKind = "hold"
	heldKind      recordKind = "held"
)

var errRecord = errors.New("damaged record")

// sealable tells the kinds whose body is encrypted in a sealed vault. The others
// hold nothing secret, or are needed before the vault is open.
func (k recordKind) sealable() bool { return k == pointKind || k == machineKind || k == policyKind }

func firstLine(kind recordKind, seal string) []byte {
	return fmt.Appendf(nil, "holdfast %s %d %s\n", kind, recordVersion, seal)
}

// encodeRecord returns the record of v, bound to path, its body encrypted when
// the vault is sealed and the kind asks for it.
func encodeRecord(keys *content.Keys, sealed bool, kind recordKind, path string, v any) ([]byte, error) {
	body, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", path, err)
	}
	body = append(body, '\n')
	head := firstLine(kind, unsealed)
	if sealed && kind.sealable() {
		head = firstLine(kind, sealedWord)
		body = content.SealRecord(keys, path, head, body)
	}
	mac := keys.MAC(path, head, body)
	head = fmt.Appendf(head, "mac %x\n", mac)
	if n := len(head) + len(body); n > maxRecord {
		return nil, fmt.Errorf("encode %s: %d bytes, at most %d can be read back", path, n, maxRecord)
	}
	return append(head, body...), nil
}

// splitRecord takes a record apart without believing it. With ErrVersion it
// returns the parts too: a record of another version is authenticated the same way.
func splitRecord(b []byte, kind recordKind) (head, body []byte, mac [content.MACSize]byte, err error) {
	head, rest, ok := bytes.Cut(b, []byte{'\n'})
	line, body, ok2 := bytes.Cut(rest, []byte{'\n'})
	words := bytes.Fields(head)
	if !ok || !ok2 || len(words) != 4 || string(words[0]) != "holdfast" {
		return nil, nil, mac, fmt.Errorf("%w: it does not begin as a %s does", errRecord, kind)
	}
	if string(words[1]) != string(kind) {
		return nil, nil, mac, fmt.Errorf("%w: a record of kind %.20q where a %s belongs", errRecord, words[1], kind)
	}
	text, found := bytes.CutPrefix(line, []byte("mac "))
	if !found || len(text) != 2*content.MACSize {
		return nil, nil, mac, fmt.Errorf("%w: its second line is no MAC", errRecord)
	}
	if _, err := hex.Decode(mac[:], text); err != nil || bytes.ContainsAny(text, "ABCDEF") {
		return nil, nil, mac, fmt.Errorf("%w: its second line is no MAC", errRecord)
	}
	head = append(head[:len(head):len(head)], '\n')
	if v, err := strconv.Atoi(string(words[2])); err != nil || v != recordVersion {
		return head, body, mac, fmt.Errorf("%s of version %.20q, this program knows %d: %w", kind, words[2], recordVersion, ErrVersion)
	}
	if w := string(words[3]); w != unsealed && (w != sealedWord || !kind.sealable()) {
		return head, body, mac, fmt.Errorf("%s sealed with %.20q: %w", kind, words[3], ErrVersion)
	}
	return head, body, mac, nil
}

// decodeRecord authenticates a record as what lies at path and reads it into v.
func decodeRecord(keys *content.Keys, kind recordKind, path string, b []byte, v any) error {
	head, body, mac, err := splitRecord(b, kind)
	if err != nil && !errors.Is(err, ErrVersion) {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if !keys.Verify(mac, path, head, body) {
		return fmt.Errorf("read %s: %w: its MAC is wrong (altered, or not what belongs there)", path, errRecord)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if bytes.HasSuffix(head, []byte(" "+sealedWord+"\n")) {
		if body, err = content.OpenRecord(keys, path, head, body); err != nil {
			return fmt.Errorf("read %s: %w: %v", path, errRecord, err)
		}
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("read %s: %w: %v", path, errRecord, err)
	}
	return nil
}

// readRecord reads and authenticates the record in a file.
func (v *Vault) readRecord(kind recordKind, path string, into any) error {
	b, err := v.dir.ReadFile(path, maxRecord)
	if err != nil {
		return err
	}
	return decodeRecord(v.keys, kind, path, b, into)
}

// writeRecord makes a new record durable. A path that is taken is fs.ErrExist.
func (v *Vault) writeRecord(kind recordKind, path string, from any) error {
	b, err := encodeRecord(v.keys, v.isSealed(), kind, path, from)
	if err != nil {
		return err
	}
	return v.dir.Write(path, b)
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
