package blockstore

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
)

// Ids of vaults, writers, machines and policies are 16 lower-case hexadecimal digits;
// the id of a point has a p before them, so that no id is taken for a time.
type (
	VaultID   string
	WriterID  string
	MachineID string
	PolicyID  string
	PointID   string
)

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

func newPointID() PointID { return PointID("p" + randomHex(8)) }

var (
	hexID   = regexp.MustCompile(`^[0-9a-f]{16}$`)
	pointID = regexp.MustCompile(`^p[0-9a-f]{16}$`)
	name    = regexp.MustCompile(`^[A-Za-z0-9._+-]{1,64}$`)
)

// CheckMachineName tells whether s can name a machine: 1 to 64 letters, digits
// and ._+- and neither `latest` nor a name that a file system treats apart.
func CheckMachineName(s string) error { return checkName("machine", s) }

// CheckDiskName tells whether s can name a disk of a machine. The rules are
// those of machines.
func CheckDiskName(s string) error { return checkName("disk", s) }

// CheckPolicyName tells whether s can name a policy. The rules are those of
// machines.
func CheckPolicyName(s string) error { return checkName("policy", s) }

// CheckConfigName tells whether s can name a piece of a point's configuration.
func CheckConfigName(s string) error { return checkName("configuration", s) }

func checkName(what, s string) error {
	switch {
	case s == "":
		return fmt.Errorf("the name of a %s is empty", what)
	case len(s) > 64:
		return fmt.Errorf("the name of a %s has %d bytes, at most 64 are allowed; it begins %.32q", what, len(s), s)
	case !name.MatchString(s):
		return fmt.Errorf("%s name %q: only letters, digits and . _ + - are allowed", what, s)
	case s == "latest" || strings.Trim(s, ".") == "" || strings.HasPrefix(s, "-"):
		return fmt.Errorf("%s name %q has a meaning of its own, choose another", what, s)
	}
	return nil
}
