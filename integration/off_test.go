package integration

import (
	"os/exec"
	"strings"
	"testing"
)

// quit ends QEMU as a guest that powers itself off does: what it knows is saved.
func (m *machine) quit() {
	m.t.Helper()
	m.monitor.do("quit", nil, nil)
	m.wait()
	m.kill()
}

// wait waits for QEMU's end.
func (m *machine) wait() {
	m.t.Helper()
	eventually(m.t, "QEMU has ended", func() bool { return over(m.cmd) })
	m.cmd.Wait()
}

// writeOff writes to the image of a machine that is off, as QEMU's tools do.
func (m *machine) writeOff(disk, command string) {
	m.t.Helper()
	tool(m.t, "qemu-io", "-f", m.images[disk][1], "-c", command, m.images[disk][0])
}

func TestTheBitmapsOfAMachineThatIsOffAreUsedAndGoOnCounting(t *testing.T) {
	t.Parallel()
	p := protectMachine(t)
	p.backUp(0)
	p.write("vda", 3, 9<<20, "64k")
	p.quit()
	r := p.backUp(0)
	if r.modes() != "vda bitmap, vdb " || r.Point.Sizes.Changed != 64<<10 || r.Point.Sizes.Read > 60<<20 {
		t.Errorf("off: %s, %+v", r.modes(), r.Point.Sizes)
	}
	p.writeOff("vda", "write -q -P 4 20M 64k")
	if r := p.backUp(0); r.modes() != "vda bitmap, vdb " || r.Point.Sizes.Changed != 64<<10 {
		t.Errorf("off again: %s, %+v", r.modes(), r.Point.Sizes)
	}
	p.machine.start()
	p.write("vda", 5, 30<<20, "64k")
	if r := p.backUp(0); r.modes() != "vda bitmap, vdb scan" || r.Point.Sizes.Changed != 64<<10 {
		t.Errorf("on again: %s, %+v", r.modes(), r.Point)
	}
	p.clean(2)
	p.write("vdb", 6, 30<<20, "64k")
	if r := p.backUp(0); r.modes() != "vda bitmap, vdb bitmap" || r.Point.Sizes.Read != 64<<10 {
		t.Errorf("and then: %s, %+v", r.modes(), r.Point.Sizes)
	}
	p.must(0, "check", "--data")
}

// TestAnImageThatWasPutBackMeanwhileIsReadRight has copies of an image return behind our back:
// their bitmaps are whole, and count from a point that the image is older than.
func TestAnImageThatWasPutBackMeanwhileIsReadRight(t *testing.T) {
	t.Parallel()
	p := protectMachine(t)
	p.backUp(0)
	p.quit()
	copied := p.machine.path("copy")
	tool(t, "cp", p.machine.path("vda"), copied)
	p.writeOff("vda", "write -q -P 7 20M 8M")
	p.backUp(0)
	tool(t, "cp", copied, p.machine.path("vda"))
	if r := p.backUp(0); r.modes() != "vda bitmap, vdb " {
		t.Errorf("put back: %s", r.modes())
	}
	p.writeOff("vda", "write -q -P 8 30M 1M")
	tool(t, "cp", copied, p.machine.path("vda"))
	p.machine.start()
	p.write("vda", 9, 40<<20, "64k")
	if r := p.backUp(0); r.modes() != "vda bitmap, vdb scan" {
		t.Errorf("put back once more, and on: %s", r.modes())
	}
}

func TestWithoutThePointThatABitmapCountsFromDisksAreReadWhole(t *testing.T) {
	t.Parallel()
	p := protectMachine(t)
	first := p.backUp(0)
	p.write("vda", 3, 9<<20, "64k")
	p.quit()
	p.backUp(0)
	p.must(0, "point", "delete", "web-1@"+first.Point.ID)
	p.writeOff("vda", "write -q -P 4 20M 64k")
	r := p.backUp(0)
	if r.modes() != "vda , vdb " || !strings.Contains(strings.Join(r.Notes, " "), "is gone") {
		t.Errorf("off: %s, %v", r.modes(), r.Notes)
	}
	p.machine.start()
	p.write("vda", 5, 30<<20, "64k")
	if r := p.backUp(0); r.modes() != "vda scan, vdb scan" {
		t.Errorf("on: %s", r.modes())
	}
	p.clean(2)
}

// TestAProtectedMachineGoesBackInPlaceAtTheCostOfWhatChanged, with a point of what was there
// that is as good as any other.
func TestAProtectedMachineGoesBackInPlaceAtTheCostOfWhatChanged(t *testing.T) {
	t.Parallel()
	p := protectMachine(t, "--exclude", "vdb")
	first := p.backUp(0)
	was := p.content("vda")
	p.write("vda", 3, 9<<20, "1M")
	p.must(5, "restore", "web-1@latest", "--in-place", "--yes", "--min-free", "none")
	p.quit()
	now := p.content("vda")
	o := p.must(0, "restore", "web-1@"+first.Point.ID, "--in-place", "--yes", "--min-free", "none", "--verify")
	if p.content("vda") != was {
		t.Errorf("the disk is not what it was: %s%s", o.out, o.err)
	}
	safety := p.must(0, "point", "show", "web-1@latest", "--json").out
	points := p.points("web-1")
	if read := points[len(points)-1].Sizes.Read; read > 2<<20 || !strings.Contains(safety, `"mode":"bitmap"`) && !strings.Contains(safety, `"mode": "bitmap"`) {
		t.Errorf("the point of what was there read %d bytes: %s", read, safety)
	}
	for _, part := range []string{"machine.json", someUUID, `"vdb"`} {
		if !strings.Contains(safety, part) {
			t.Errorf("the point of what was there lacks %s: %s", part, safety)
		}
	}
	target := p.machine.path("vdx.raw")
	p.must(0, "restore", "web-1@latest", "--disk", "vda="+target)
	if out, err := exec.Command("qemu-img", "compare", "-f", "qcow2", "-F", "raw", p.machine.path("vda"), target).CombinedOutput(); err == nil {
		t.Errorf("the point of what was there holds what is there now: %s", out)
	}
	if hashFile(t, target) != now {
		t.Error("the point of what was there holds something else")
	}
	p.machine.start()
	p.write("vda", 5, 30<<20, "64k")
	if r := p.backUp(0); r.modes() != "vda bitmap" || r.Point.Sizes.Read > 4<<20 {
		t.Errorf("the next run: %s, %+v", r.modes(), r.Point)
	}
	p.clean(1)
}
