package service

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

// DescribeFile says what is at p, which a folder has as path; err is why that cannot be told.
func DescribeFile(p guestfs.Place, path string, err error) api.GuestFile {
	f := api.GuestFile{Path: strings.ToValidUTF8(path, "�")}
	if !utf8.ValidString(path) {
		f.PathEscaped = api.EscapePath(path)
	}
	f.Name = f.Path[strings.LastIndexByte(f.Path, '/')+1:]
	if f.Path == "/" {
		f.Name = "/"
	}
	if err == nil {
		err = fillFile(&f, p)
	}
	if err != nil {
		f.Error = strings.ToValidUTF8(err.Error(), "�")
		f.Damaged = Explain(err).Exit == exitDamaged
	}
	return f
}

func fillFile(f *api.GuestFile, p guestfs.Place) error {
	a, err := p.Stat()
	if err != nil {
		return err
	}
	f.Type, f.Mode, f.Links, f.UID, f.GID = api.FileType(a.Mode), fmt.Sprintf("%04o", a.Mode&0o7777), a.Nlink, a.UID, a.GID
	f.Size, f.Volume, f.Inode = a.Size, p.Volume.Name, a.Ino
	f.Modified = api.Moment(a.Mtime)
	switch f.Type {
	case "link":
		f.Target, err = p.Readlink()
		f.Target = strings.ToValidUTF8(f.Target, "�")
	case "block", "char":
		f.Major, f.Minor = a.Major, a.Minor
	}
	f.Permissions = permissions(a.Mode)
	return err
}

// permissions are as ls(1) writes them.
func permissions(mode uint32) string {
	b := []byte("?rwxrwxrwx")
	letters := map[string]byte{"file": '-', "folder": 'd', "link": 'l', "block": 'b', "char": 'c', "pipe": 'p', "socket": 's'}
	if c, ok := letters[api.FileType(mode)]; ok {
		b[0] = c
	}
	for i := range 9 {
		if mode&(1<<(8-i)) == 0 {
			b[i+1] = '-'
		}
	}
	for _, s := range []struct {
		bit   uint32
		at    int
		lower byte
	}{{0o4000, 3, 's'}, {0o2000, 6, 's'}, {0o1000, 9, 't'}} {
		switch {
		case mode&s.bit != 0 && b[s.at] == 'x':
			b[s.at] = s.lower
		case mode&s.bit != 0:
			b[s.at] = s.lower - 'a' + 'A'
		}
	}
	return string(b)
}
