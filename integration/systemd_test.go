package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// aLife is what an operator does with the package on a host with systemd. Each step says what came
// out, and all waiting has an end.
const aLife = `#!/bin/sh
exec >/srv/log 2>&1
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOLDFAST_VAULT=/srv/holdfast DEBIAN_FRONTEND=noninteractive
soon() { n=0; until sh -c "$1" >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 600 ] || { echo "NEVER: $1"; journalctl -u holdfast --no-pager; break; }; sleep 0.2; done; }
main() { systemctl show --property MainPID --value holdfast; }

dpkg --no-triggers -i /srv/first.deb
echo "enabled: $(systemctl is-enabled holdfast)"
soon 'systemctl is-active holdfast'
echo "installed: $(systemctl is-active holdfast)"

holdfast vault create /srv/holdfast
printf 'mount: {at: /mnt/holdfast}\n' >>/etc/holdfast/config.yaml
holdfast config check
systemctl restart holdfast
soon 'grep -q /srv/holdfast /run/holdfast/vaults.json && [ -d /mnt/holdfast/holdfast ]'
head -c 3000000 /dev/urandom >/srv/a.raw; truncate -s 4M /srv/a.raw
holdfast backup a --disk vda=/srv/a.raw
soon 'cmp /srv/a.raw /mnt/holdfast/holdfast/a/latest/disks/vda.raw'
cmp /srv/a.raw /mnt/holdfast/holdfast/a/latest/disks/vda.raw && echo "mounted: same"
holdfast restore a@latest --to /srv/b.qcow2 --format qcow2 && qemu-img compare -f raw -F qcow2 /srv/a.raw /srv/b.qcow2
systemctl reload holdfast && echo "reloaded"

tail -f /mnt/holdfast/holdfast/a/latest/disks/vda.raw >/dev/null &
soon 'holdfast daemon --restart-when-idle | grep -q "open file"'
before=$(main)
dpkg --no-triggers -i /srv/second.deb
[ "$(main)" = "$before" ] && echo "upgraded: the same process goes on"
kill $!
soon '[ "$(systemctl show --property MainPID --value holdfast)" != '"$before"' ] && systemctl is-active holdfast'
echo "restarted: $(systemctl is-active holdfast)"
journalctl -u holdfast --no-pager | grep -o 'daemon is ready.*tool="holdfast 2.0.0"' | tail -1

dpkg --no-triggers -r holdfast
echo "removed: $(systemctl is-active holdfast)"
dpkg --no-triggers -i /srv/second.deb
soon 'systemctl is-active holdfast'
echo "again: $(systemctl is-enabled holdfast) $(systemctl is-active holdfast)"
dpkg --no-triggers -P holdfast
echo "purged: $(systemctl is-active holdfast)"
ls -d /srv/holdfast/VAULT /etc/holdfast /var/lib/holdfast
mount | grep fuse.holdfast && echo "a mount is left"
echo "the end"
systemctl poweroff --force --force
`

func TestUnderSystemdThePackageStartsRestartsWhenIdleAndLeaves(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "dpkg", "dpkg-deb", "systemd-nspawn", "qemu-img")
	needFUSE(t)
	r := bareThrowaway(t)
	r.mount("tmpfs", r.path("/srv"), "tmpfs", 0, "mode=755")
	for name, version := range map[string]string{"/srv/first.deb": "1.0.0", "/srv/second.deb": "2.0.0"} {
		b, err := os.ReadFile(makePackage(t, "deb", version))
		if err != nil {
			t.Fatal(err)
		}
		r.write(name, string(b))
	}
	r.removes("/etc/systemd/system/*.wants") // nothing of the host runs there
	r.removes("/usr/sbin/policy-rc.d")
	r.write("/srv/life", aLife)
	r.write("/etc/systemd/system/life.service", "[Service]\nExecStart=/bin/sh /srv/life\n")
	r.write("/etc/systemd/system/life.target", "[Unit]\nWants=life.service systemd-journald.service\nAfter=systemd-journald.service\n")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	boot := exec.CommandContext(ctx, "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--capability=all", "--bind=/dev/fuse",
		"--bind="+r.path("/srv")+":/srv",
		"--property=DeviceAllow=/dev/fuse rwm", fmt.Sprintf("--machine=holdfast-%d", os.Getpid()), "--directory="+r.root, "--boot", "systemd.unit=life.target")
	boot.SysProcAttr = endsWithUs()
	boot.WaitDelay = 10 * time.Second
	console, err := boot.CombinedOutput()
	log, _ := os.ReadFile(r.path("/srv/log"))
	if !strings.Contains(string(log), "the end") {
		t.Fatalf("%v\n%s\n%s", err, console, log)
	}
	says(t, string(log), "enabled: enabled", "installed: active", "mounted: same", "Images are identical.", "reloaded", "goes on as it is", "open file", "upgraded: the same process goes on",
		"restarted: active", "daemon is ready", "the daemon has ended", "removed: inactive", "again: enabled active", "purged: inactive", "/srv/holdfast/VAULT", "cannot access '/etc/holdfast'", "cannot access '/var/lib/holdfast'")
	for _, bad := range []string{"NEVER", "a mount is left", "error:"} {
		if strings.Contains(string(log), bad) {
			t.Errorf("%q in\n%s", bad, log)
		}
	}
}
