package service

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// registered tells whether a folder is, or lies below, one that is registered. Links are followed
// as far as the folder is there already, so that none leads out of what is registered; whoever can make
// one while a restore begins is not to be let into a registered folder.
func (s *Service) registered(folder string) bool {
	real, err := realPath(folder)
	if err != nil || !filepath.IsAbs(folder) {
		return false
	}
	for _, f := range s.o.RestoreFolders {
		top, err := realPath(f)
		if err != nil {
			continue
		}
		rel, err := filepath.Rel(top, real)
		if err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			return true
		}
	}
	return false
}

// realPath follows the links in what is there of a path.
func realPath(path string) (string, error) {
	rest := ""
	for path = filepath.Clean(path); ; {
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		up := filepath.Dir(path)
		if _, there := os.Lstat(path); up == path || !errors.Is(there, fs.ErrNotExist) {
			return "", err // a link into nowhere, or what may not be looked at
		}
		path, rest = up, filepath.Join(filepath.Base(path), rest)
	}
}
