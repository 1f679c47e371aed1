package fusefs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// The benchmarks read, in the same run, through mounts with the same options:
//
//	memory  a bare file from memory, with nothing of ours around it
//	fake    a disk of a vault in memory: what this package costs
//	vault   a disk of a real vault in memory: decompressed and verified
//
// Ratios between them tell more than any figure on its own.

const benchSize = 512 << 20

// memoryFile is a file in memory with as little as possible around it.
type memoryFile struct {
	fs.Inode
	data []byte
}

func (f *memoryFile) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

func (f *memoryFile) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = 0o400, uint64(len(f.data))
	out.SetTimeout(forever)
	return 0
}

func (f *memoryFile) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return fuse.ReadResultData(f.data[off:min(off+int64(len(dest)), int64(len(f.data)))]), 0
}

// mountMemory serves data as the one file of a mount and returns its path.
func mountMemory(b *testing.B, data []byte) string {
	b.Helper()
	o := Options{}.withDefaults(newFakeVault().info)
	path := b.TempDir()
	fd, err := attach(context.Background(), path, &o)
	if err != nil {
		b.Fatal(err)
	}
	root := &fs.Inode{}
	options := libraryOptions(&o)
	options.NullPermissions = false
	options.OnAdd = func(ctx context.Context) {
		root.AddChild("memory", root.NewPersistentInode(ctx, &memoryFile{data: data}, fs.StableAttr{}), true)
	}
	conn, err := fuse.NewServer(fs.NewNodeFS(root, options), fmt.Sprintf("/dev/fd/%d", fd), &options.MountOptions)
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); conn.Serve() }()
	b.Cleanup(func() { detach(context.Background(), path, true); <-done })
	at, err := mountsAt(path)
	if err != nil {
		b.Fatal(err)
	}
	raiseReadahead(at[0].device, o.ReadAhead)
	return filepath.Join(path, "memory")
}

// benchFiles are the files to compare, in order.
func benchFiles(b *testing.B) (names []string, path map[string]string) {
	data := make([]byte, benchSize)
	r := rand.NewChaCha8([32]byte{1})
	for off := 0; off < len(data); off += 1000 { // three fifths do not compress
		r.Read(data[off:min(off+600, len(data))])
	}
	fake := newFakeVault()
	fake.add("web", day, newFakeDisk(data))
	path = map[string]string{"memory": mountMemory(b, data)}
	for name, v := range map[string]Vault{"fake": fake, "vault": realVault(b, data)} {
		m, _ := mount(b, v, Options{})
		path[name] = filepath.Join(m, "web/latest/disks/vda.raw")
	}
	return []string{"memory", "fake", "vault"}, path
}

// openCold opens a file of which the kernel has nothing in its cache.
func openCold(b *testing.B, path string) int {
	b.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	if err := unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED); err != nil {
		b.Fatal(err)
	}
	return fd
}

// cpuTime is the processor time that this process has taken, the kernel's part of
// reading and serving included. On a busy machine it tells more than the clock.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkSequentialRead(b *testing.B) {
	names, files := benchFiles(b)
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(benchSize)
			buf := make([]byte, 1<<20)
			before := cpuTime(b)
			for range b.N {
				fd := openCold(b, files[name])
				for n, err := unix.Read(fd, buf); n > 0; n, err = unix.Read(fd, buf) {
					if err != nil {
						b.Fatal(err)
					}
				}
				unix.Close(fd)
			}
			b.ReportMetric((cpuTime(b)-before).Seconds()/float64(b.N)*(1<<30)/benchSize, "cpu-s/GiB")
		})
	}
}

func BenchmarkRandomRead4KiB(b *testing.B) {
	names, files := benchFiles(b)
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			fd := openCold(b, files[name])
			defer unix.Close(fd)
			if err := unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM); err != nil {
				b.Fatal(err)
			}
			r := rand.New(rand.NewPCG(1, 2))
			buf := make([]byte, 4096)
			for i := range b.N {
				if i%(benchSize/4096/4) == 0 {
					unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)
				}
				if _, err := unix.Pread(fd, buf, r.Int64N(benchSize/4096)*4096); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reads/s")
		})
	}
}

func BenchmarkListTenThousandPoints(b *testing.B) {
	v := newFakeVault()
	for i := range 10000 {
		v.bare("web", day.Add(time.Duration(i)*time.Second))
	}
	for range b.N {
		b.StopTimer()
		m, s := mount(b, v, Options{})
		b.StartTimer()
		sh(b, m, `ls -l $M/web > /dev/null`)
		b.StopTimer()
		if err := s.Unmount(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkWalkTenThousandPoints(b *testing.B) {
	v := newFakeVault()
	for i := range 10000 {
		v.bare("web", day.Add(time.Duration(i)*time.Second))
	}
	for range b.N {
		b.StopTimer()
		m, s := mount(b, v, Options{})
		b.StartTimer()
		sh(b, m, `find $M -name files -prune -o -ls > /dev/null`)
		b.StopTimer()
		if err := s.Unmount(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
