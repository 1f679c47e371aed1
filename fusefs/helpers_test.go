package fusefs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/alone"
)

// childEnv makes the test binary a process that mounts a fake vault at the folder
// that it names and serves it until killed.
const childEnv = "HOLDFAST_TEST_MOUNT"

// roundEnv makes it one that mounts there, reads through the mount and unmounts.
const roundEnv = "HOLDFAST_TEST_ROUND"

// mapEnv makes it one that maps that file and prints its content.
const mapEnv = "HOLDFAST_TEST_MAP"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		serveUntilKilled(dir)
	}
	if dir := os.Getenv(roundEnv); dir != "" {
		mountReadUnmount(dir)
	}
	if file := os.Getenv(mapEnv); file != "" {
		printMapped(file)
	}
	if err := alone.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err) // and go on with the mounts of all
	}
	os.Exit(m.Run())
}

func serveUntilKilled(dir string) {
	v := newFakeVault()
	v.add("web", day, holey(1<<20, 1))
	_, err := Mount(context.Background(), dir, v, Options{})
	fmt.Println("mounted", err)
	time.Sleep(time.Minute)
	os.Exit(1)
}

func mountReadUnmount(dir string) {
	v := newFakeVault()
	v.add("web", day, holey(1<<20, 1))
	for _, o := range []Options{{}, {AllowOther: true}} {
		s, err := Mount(context.Background(), dir, v, o)
		if err != nil {
			fmt.Println(err)
			continue
		}
		out, err := exec.Command("cat", dir+"/web/latest/config/domain.xml").CombinedOutput()
		fmt.Printf("%s%v %v\n", out, err, s.Unmount())
	}
	os.Exit(0)
}

func printMapped(file string) {
	f, err := os.Open(file)
	if err != nil {
		panic(err)
	}
	info, err := f.Stat()
	if err != nil {
		panic(err)
	}
	data, err := syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	// A copy, so that it is this process that touches every page.
	os.Stdout.Write(bytes.Clone(data))
	os.Exit(0)
}

func countFDs(t testing.TB) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

// countRoutines counts goroutines of this package and its library.
func countRoutines() int {
	buf := make([]byte, 1<<20)
	n := 0
	for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "go-fuse") || strings.Contains(g, "fusefs.(*Server)") {
			n++
		}
	}
	return n
}
