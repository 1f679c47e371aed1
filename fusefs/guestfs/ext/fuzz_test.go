package ext

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// mutate changes bytes as the input says, five of it for each: where (in the whole
// image, or near a structure), how, and with what.
func mutate(p *patient, data []byte) {
	for n := 0; len(data) >= 5 && n < 64; n++ {
		at := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16
		how, with := data[3], data[4]
		data = data[5:]
		target := p.target(how>>4, at)
		if len(target) < 4 {
			continue
		}
		switch i := int(at>>4) % (len(target) - 3); how & 7 {
		case 0:
			target[i] = with
		case 1:
			target[i] ^= 1 << (with & 7)
		case 2:
			le.PutUint16(target[i&^1:], uint16(int8(with)))
		case 3:
			le.PutUint32(target[i&^3:], uint32(int8(with)))
		case 4:
			clear(target[i:min(len(target), i+int(with))])
		case 5:
			copy(target[i:], target[int(with)%len(target):])
		case 6: // a block number that means something
			if len(p.places) > 0 {
				le.PutUint32(target[i&^3:], uint32(p.places[int(with)%len(p.places)].block))
			}
		case 7:
			be.PutUint32(target[i&^3:], uint32(int8(with)))
		}
	}
	p.seal()
}

// target chooses the structure that is changed.
func (p *patient) target(kind byte, n uint32) []byte {
	switch {
	case kind < 2:
		return p.b[1024:2048]
	case kind < 4:
		return p.desc(n % p.super.groups)
	case kind < 8:
		return p.inode(n%p.super.inodes + 1)
	case kind < 13 && len(p.places) > 0:
		return p.block(p.places[int(n)%len(p.places)].block)
	case kind < 14:
		v := &volume{sb: p.super}
		v.sb.journalBlocks = nil
		if in := p.inode(8); le.Uint16(in[wordsAt:]) == extentMagic { // the journal's first blocks
			r := openNode(in[wordsAt : wordsAt+wordsSize]).run(0)
			if at := r.physical + uint64(n%16); at < uint64(len(p.b))/uint64(p.super.blockSize) {
				return p.block(at)
			}
		}
	}
	return p.b
}

// FuzzVolume changes an image, puts its checksums right, and uses all of it.
func FuzzVolume(f *testing.F) {
	f.Add(byte(0), []byte{})
	f.Add(byte(1), []byte("\x10\x00\x00\x55\x00"))
	r := rand.New(rand.NewPCG(1, 2))
	for n := range byte(len(sampleImages)) {
		b := make([]byte, 40)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(n, b)
	}
	f.Fuzz(func(t *testing.T, n byte, data []byte) {
		p := sample(t, int(n)%len(sampleImages))
		mutate(p, data)
		examine(p.b, true)
	})
}

const mutantsEnv = "HOLDFAST_EXT_MUTANTS"

// TestMutatedImagesNeitherCrashNorRunAway examines many mutants in a child, whose
// time and memory are limited. What one read costs is limited by counter.
func TestMutatedImagesNeitherCrashNorRunAway(t *testing.T) {
	if os.Getenv(mutantsEnv) != "" {
		examineMutants(t)
		return
	}
	t.Parallel()
	needs.Tools(t, "mke2fs", "debugfs")
	cmd := exec.Command(os.Args[0], "-test.run=^TestMutatedImagesNeitherCrashNorRunAway$")
	cmd.Env = append(os.Environ(), mutantsEnv+"=1", "GOMEMLIMIT=160MiB") // what is garbage does not count
	timer := time.AfterFunc(5*time.Minute, func() { cmd.Process.Kill() })
	out, err := cmd.CombinedOutput()
	timer.Stop()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// peakMemory is the most that this process ever had in memory, in bytes. (What wait4(2)
// says of a child counts its parent's, too.)
func peakMemory(t *testing.T) (peak int64) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "VmHWM:")
	if _, err := fmt.Sscan(after, &peak); err != nil {
		t.Fatal(err)
	}
	return peak << 10
}

func examineMutants(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for n := range sampleImages {
		whole := examine(sample(t, n).b, false)
		if whole < 120 {
			t.Fatalf("image %d: only %d entries are readable before anything is changed", n, whole)
		}
		mutants := 250
		if raceDetector {
			mutants = 25
		}
		for range mutants {
			data := make([]byte, 5*(1+r.IntN(12)))
			for i := range data {
				data[i] = byte(r.Uint32())
			}
			p := sample(t, n)
			mutate(p, data)
			examine(p.b, true)
		}
	}
	if used := peakMemory(t); used > 256<<20 && !raceDetector {
		t.Errorf("it took %d MiB", used>>20)
	}
}
