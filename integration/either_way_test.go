package integration

import (
	"regexp"
	"strings"
	"testing"
)

// TestCommandsSayTheSameWithADaemonAndWithout runs the same commands on two vaults, one of which a daemon
// owns: what they print and how they end differs in ids, times and paths alone.
func TestCommandsSayTheSameWithADaemonAndWithout(t *testing.T) {
	t.Parallel()
	image := randomImage(t, "a.raw", 192)
	without, with := newService(t, newVault(t), ""), newService(t, newVault(t), "")
	p := with.begin()
	for _, line := range []string{
		"backup web1 --disk vda=" + image,
		"backup web1 --disk vda=" + image + " --skip-unchanged",
		"backup web2 --disk vda=" + image + "-none",
		"backup nobody",
		"points",
		"points web1",
		"points web9",
		"point show web1@latest",
		"point note web1@latest kept",
		"point lock web1@latest --until 2099-01-01",
		"point delete web1@latest",
		"point delete web1@p0000000000000000",
		"protect m1 --disk vda=" + image,
		"machines",
		"policy set nightly --machines * --schedule daily --timezone UTC --jitter 0 --keep-last 1 --priority 5 --read-rate 50MiB",
		"policy set bad --schedule never-ever",
		"policy list",
		"policy show nightly",
		"prune --dry-run",
		"prune",
		"prune --confirm",
		"trash list",
		"sweep --dry-run",
		"sweep",
		"trash empty --yes",
		"hold m1 --for 1h",
		"backup m1",
		"hold m1 --release",
		"backup m1",
		"machine rename m1 m2",
		"unprotect m2",
		"policy remove nightly",
		"check",
		"check --data",
		"vault info",
	} {
		words := strings.Fields(line)
		a, b := without.runs(words...), with.runs(words...)
		if a.code != b.code || without.same(a.out) != with.same(b.out) || without.same(a.err) != with.same(b.err) {
			t.Errorf("holdfast %s\nwithout a daemon %d:\n%s%s\nwith a daemon %d:\n%s%s", line, a.code, without.same(a.out), without.same(a.err), b.code, with.same(b.out), with.same(b.err))
		}
	}
	with.end(p)
}

var differs = regexp.MustCompile(`p?[0-9a-f]{16}\b|\d{4}-\d\d-\d\dT\d\d[-:]\d\d[-:]\d\dZ?|in [0-9.]+m?s( \([^)]*/s\))?|(free|writer|host|owner|process|pid)[^\n]*|[0-9]+ B stored|size on disk[^\n]*|[0-9.]+ [KMG]iB of (packs|segments|index|records)[^\n]*`)

var beside = regexp.MustCompile(`note: [^\n]* lies on the file system of the vault[^\n]*\n`)

// same is a text without what differs between two vaults.
func (s *service) same(text string) string {
	text = beside.ReplaceAllString(text, "") // of a vault that no free space is kept in, nothing is said
	return differs.ReplaceAllString(strings.ReplaceAll(text, s.path, "VAULT"), "X")
}

// TestABackupAddsNoMoreToTheVaultThanItMay lets one byte be added a second, which no backup ends with, by a daemon and
// without.
func TestABackupAddsNoMoreToTheVaultThanItMay(t *testing.T) {
	t.Parallel()
	without, with := newService(t, newVault(t), ""), newService(t, newVault(t), "")
	p := with.begin()
	for _, s := range []*service{without, with} {
		image := randomImage(t, "a.raw", 8<<10)
		if o := s.must(1, "backup", "web1", "--disk", "vda="+image, "--write-rate", "1", "--max-duration", "1s"); !strings.Contains(o.err, "longer than it may") {
			t.Errorf("%s", o.err)
		}
		s.must(0, "backup", "web1", "--disk", "vda="+image, "--write-rate", "1GiB", "--read-rate", "1GiB")
		s.must(2, "backup", "web1", "--disk", "vda="+image, "--write-rate", "0")
		s.must(2, "backup", "web1", "--disk", "vda="+image, "--read-rate", "0")
	}
	with.end(p)
}
