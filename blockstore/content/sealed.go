package content

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
)

const gcmNonceSize = 12

// SealRecord encrypts the body of a small record of a sealed vault by
// AES-256-GCM: a random nonce and the ciphertext, bound to path and first line,
// as one line of base64.
func SealRecord(k *Keys, path string, head, body []byte) []byte {
	nonce := make([]byte, gcmNonceSize, gcmNonceSize+len(body)+16)
	rand.Read(nonce) // never fails
	sealed := k.recordGCM().Seal(nonce, nonce, body, recordData(path, head))
	return append(base64.StdEncoding.AppendEncode(nil, sealed), '\n')
}

// OpenRecord decrypts what [SealRecord] made.
func OpenRecord(k *Keys, path string, head, text []byte) ([]byte, error) {
	if len(text) == 0 || text[len(text)-1] != '\n' {
		return nil, errors.New("its sealed body does not end in a line feed")
	}
	sealed, err := base64.StdEncoding.Strict().AppendDecode(nil, text[:len(text)-1])
	if err != nil {
		return nil, fmt.Errorf("its sealed body: %w", err)
	}
	if len(sealed) < gcmNonceSize {
		return nil, errors.New("its sealed body is too short")
	}
	body, err := k.recordGCM().Open(nil, sealed[:gcmNonceSize], sealed[gcmNonceSize:], recordData(path, head))
	if err != nil {
		return nil, errors.New("its seal is broken")
	}
	return body, nil
}

func recordData(path string, head []byte) []byte { return append([]byte(path+"\x00"), head...) }

func (k *Keys) recordGCM() cipher.AEAD {
	block, err := aes.NewCipher(k.rest[:])
	if err == nil {
		var gcm cipher.AEAD
		if gcm, err = cipher.NewGCM(block); err == nil {
			return gcm
		}
	}
	panic(err) // only for keys that are not 16, 24 or 32 bytes long
}
