package ext

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	// encryptedPrefix begins every name that stands for an encrypted one. What
	// follows is the stored name in base64 (RFC 4648, for URLs, not padded); of one
	// longer than maxPlainName its first bytes and then the SHA-256 of all of it, so
	// that the result is never longer than a name may be.
	encryptedPrefix = "_encrypted_"
	maxPlainName    = 180
)

func escapeEncrypted(name []byte) string {
	if len(name) > maxPlainName {
		sum := sha256.Sum256(name)
		name = append(append(make([]byte, 0, maxPlainName), name[:maxPlainName-len(sum)]...), sum[:]...)
	}
	return encryptedPrefix + base64.RawURLEncoding.EncodeToString(name)
}

func encrypted(ino uint32, what string) error {
	return &tree.UnsupportedError{What: fmt.Sprintf("inode %d", ino),
		Why: "its " + what + " is encrypted by the guest (fscrypt); restore the disk and unlock it there"}
}
