package libvirt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/needs"
	"github.com/holdfast-backup/holdfast/quiesce/qga"
)

func TestDomainsAreFoundWhateverTheirNames(t *testing.T) {
	for _, name := range []string{"-c", "--domain=x", "web 1", "a@b:c", "1", "ünï&<'\">"} {
		v := define(t, vmOptions{name: name, off: true})
		d, err := v.host.Domain(ctx(t), name)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		byID, err := v.host.Domain(ctx(t), strings.ToUpper(v.UUID()))
		if err != nil || byID.Name() != name || d.UUID() != v.UUID() {
			t.Errorf("%q: %s %s %v", name, byID.Name(), d.UUID(), err)
		}
		uri, domain, err := ParseTarget("qemu:///system/" + name)
		if err != nil || uri != "qemu:///system" || domain != name {
			t.Errorf("%q: %q %q %v", name, uri, domain, err)
		}
	}
	for _, name := range []string{"", "nobody", "\n", "2", "--all", "00000000-0000-0000-0000-000000000001"} {
		if d, err := host(t).Domain(ctx(t), name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v %v", name, d, err)
		}
	}
}

func TestTheListShowsDomainsThatRunAndThatAreOff(t *testing.T) {
	off := define(t, vmOptions{name: "off", off: true})
	on := define(t, vmOptions{name: "on", runs: true,
		devices: `<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>`})
	list, err := off.host.Domains(ctx(t))
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v %v", list, err)
	}
	if d := list[0]; d.Name != "off" || d.State != Off || d.Active || !d.Persistent || d.Agent != NoAgent {
		t.Errorf("%+v", d)
	}
	d := list[1]
	if d.Name != "on" || d.UUID != on.UUID() || d.State != Running || !d.Active || !d.Persistent || d.Agent != AgentDisconnected {
		t.Errorf("%+v", d)
	}
	for _, d := range list {
		if len(d.Disks) != 3 || d.Disks[0].Size != diskSize || d.Disks[1].Size != diskSize || d.Disks[0].Serial != "ser-a" || d.Disks[2].LeftOut == "" {
			t.Errorf("%+v", d.Disks)
		}
	}
	agent := on.Agent()
	began := time.Now()
	if err := agent.Ping(ctx(t)); !errors.Is(err, qga.ErrAbsent) || time.Since(began) > time.Minute {
		t.Errorf("ping of nobody: %v", err)
	}
	if _, err := agent.Freeze(ctx(t), nil); !errors.Is(err, qga.ErrAbsent) {
		t.Errorf("freeze of nobody: %v", err)
	}
	if n := on.agentTimeout(); n != waitForEver {
		t.Errorf("time-out for the agent: %d", n)
	}
	if err := off.Agent().Ping(ctx(t)); !errors.Is(err, qga.ErrGone) {
		t.Errorf("ping of a domain that is off: %v", err)
	}
}

func TestAHostThatDoesNotAnswerIsSaidToBeSo(t *testing.T) {
	if !installed("virsh") {
		needs.Missing(t, "needs virsh")
	}
	if _, err := Connect(ctx(t), "qemu+unix:///system?socket=/nonexistent"); !errors.Is(err, ErrNoHost) {
		t.Error(err)
	}
	t.Setenv("PATH", "")
	if _, err := Connect(ctx(t), ""); !errors.Is(err, ErrNoVirsh) {
		t.Error(err)
	}
}

// scripted is a host whose virsh is a script.
func scripted(t *testing.T, script string) *Host {
	t.Helper()
	path := filepath.Join(t.TempDir(), "virsh")
	// Written by another process: a file that a fork of ours holds open for writing cannot be run.
	cmd := exec.Command("sh", "-c", `cat >"$0" && chmod +x "$0"`, path)
	cmd.Stdin = strings.NewReader("#!/bin/sh\n" + script)
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return &Host{uri: "test:///default", tool: path, state: t.TempDir()}
}

func TestAVirshThatHangsOrFloodsIsEnded(t *testing.T) {
	c, cancel := context.WithTimeout(ctx(t), 300*time.Millisecond)
	defer cancel()
	if _, err := scripted(t, "sleep 100 & sleep 100").virsh(c, "list"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hangs: %v", err)
	}
	if _, err := scripted(t, "exec cat /dev/zero").virsh(ctx(t), "list"); err == nil || !strings.Contains(err.Error(), "output") {
		t.Errorf("floods: %v", err)
	}
	_, err := scripted(t, `printf 'error: a\nerror: b\033[2J\n' >&2; head -c 1000000 /dev/zero | tr '\0' x >&2; exit 1`).virsh(ctx(t), "list")
	var refused *Error
	if !errors.As(err, &refused) || !strings.HasPrefix(refused.Message, "a: b?[2J: xxx") || len(refused.Message) > maxMessage {
		t.Errorf("complains: %.200v", err)
	}
}

func TestDocumentsAreGivenAsFilesWithoutNames(t *testing.T) {
	out, err := scripted(t, `cat "$4"; cat "$5"`).virsh(ctx(t), "define", document("<a/>"), document(strings.Repeat("b", 100_000)))
	if err != nil || out != "<a/>"+strings.Repeat("b", 100_000) {
		t.Errorf("%.50q %v", out, err)
	}
}

func TestAFreezeSetsTheTimeOutAndAThawPutsItBack(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	h := scripted(t, `echo "$@" >>`+log+`
[ "$1" != --quiet ] || shift
case "$2" in
dumpxml) echo "<domain id='1'><devices><channel><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel></devices></domain>" ;;
domfsfreeze) [ "$1" != --quiet ] && echo "Froze 2 filesystem(s)" ;;
domfsthaw) [ -e `+log+`.held ] || { touch `+log+`.held; echo "error: Timed out during operation: cannot acquire state change lock (held by agent=remoteDispatchDomainFSFreeze)" >&2; exit 1; }
	echo "Thawed 2 filesystem(s)" ;;
esac`)
	const id = "28961a7b-3c8a-44fd-99bb-a75dcc4ca976"
	record := "<domstatus><agentTimeout>7</agentTimeout><domain><uuid>" + id + "</uuid></domain></domstatus>"
	if err := os.WriteFile(filepath.Join(h.state, "x y.xml"), []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
	a := (&Domain{host: h, uuid: id, name: "x y"}).Agent()
	c, cancel := context.WithTimeout(ctx(t), 59500*time.Millisecond)
	defer cancel()
	if n, err := a.Freeze(c, []string{"/", "/my data"}); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	end, _ := c.Deadline()
	least := int(math.Ceil(time.Until(end).Seconds())) // that is left, in whole seconds; at first it was 60
	if n, err := a.Thaw(ctx(t)); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	text, _ := os.ReadFile(log)
	var commands []string
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		_, rest, _ := strings.Cut(line, "test:///default ")
		commands = append(commands, strings.ReplaceAll(rest, " --domain="+id, ""))
	}
	var given int
	if len(commands) < 2 || !strings.HasPrefix(commands[1], "guest-agent-timeout --timeout=") {
		t.Fatalf("virsh was called so: %q", commands)
	}
	if fmt.Sscanf(commands[1], "guest-agent-timeout --timeout=%d", &given); given < least || given > 60 {
		t.Errorf("the time-out is %d seconds, want between %d and 60", given, least)
	}
	commands[1] = "guest-agent-timeout"
	if got := strings.Join(commands, "\n"); got != `dumpxml
guest-agent-timeout
domfsfreeze --mountpoint / --mountpoint /my data
domfsthaw
domfsthaw
guest-agent-timeout --timeout=7` {
		t.Errorf("virsh was called so:\n%s", got)
	}
	if _, err := a.Freeze(ctx(t), []string{"--all"}); err == nil {
		t.Error("an option is no mount point")
	}
}

func TestAFrozenAgentIsKnownByItsRefusal(t *testing.T) {
	for refusal, want := range map[string]error{
		"internal error: unable to execute QEMU agent command 'guest-get-time': Command guest-get-time has been disabled: the agent is in frozen state": nil,
		"internal error: unable to execute QEMU agent command 'guest-get-time': The command guest-get-time has been disabled for this instance":         errors.ErrUnsupported,
		"Guest agent is not responding: Guest agent not available for now":                                                                              qga.ErrAbsent,
		"Requested operation is not valid: domain is not running":                                                                                       qga.ErrGone,
	} {
		h := scripted(t, `case "$3" in
dumpxml) echo "<domain id='1'><devices><channel><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel></devices></domain>" ;;
domtime) echo "error: `+refusal+`" >&2; exit 1 ;;
esac`)
		frozen, err := (&Domain{host: h, uuid: "28961a7b-3c8a-44fd-99bb-a75dcc4ca976"}).Agent().Frozen(ctx(t))
		if frozen != (want == nil) || !errors.Is(err, want) {
			t.Errorf("%s: %v %v", refusal, frozen, err)
		}
	}
}

func TestTargetsAreTakenApart(t *testing.T) {
	for s, want := range map[string][2]string{
		"web1":                       {DefaultURI, "web1"},
		"qemu:///system/web1":        {"qemu:///system", "web1"},
		"qemu+ssh://root@h/system/w": {"qemu+ssh://root@h/system", "w"},
		"a:b":                        {DefaultURI, "a:b"},
	} {
		uri, domain, err := ParseTarget(s)
		if err != nil || uri != want[0] || domain != want[1] {
			t.Errorf("%q: %q %q %v", s, uri, domain, err)
		}
	}
	for _, s := range []string{"", "qemu:///system/", "x\ny", "-q://a/b", "qemu://"} {
		if uri, domain, err := ParseTarget(s); err == nil {
			t.Errorf("%q: %q %q", s, uri, domain)
		}
	}
}

func TestTheFolderForScratchFilesIsLockedAndGoesWithTheRun(t *testing.T) {
	o := request(&vm{dir: t.TempDir()}, "", "").Scratch
	const id = "28961a7b-3c8a-44fd-99bb-a75dcc4ca976"
	f, err := openFolder(o, id, -1, -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openFolder(o, id, -1, -1); err == nil || !held(f.path) {
		t.Errorf("locked twice: %v", err)
	}
	if err := os.WriteFile(f.file("vda.qcow2"), bytes.Repeat([]byte{1}, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	f.options.Cap = 1 << 19
	if err := f.check(); !errors.Is(err, ErrScratch) {
		t.Errorf("above the cap: %v", err)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(f.path); !errors.Is(err, syscall.ENOENT) {
		t.Error("the folder stays")
	}
	o.Folder = "relative"
	if _, err := openFolder(o, id, -1, -1); err == nil {
		t.Error("a folder that depends on where one stands")
	}
}
