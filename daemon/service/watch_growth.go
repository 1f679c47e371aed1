package service

import (
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/status"
)

const (
	growthFile = "growth.json" // how much of the file systems of vaults was in use, by id of the vault

	// A sample is kept for each vault so often, and so long; of so many vaults at most.
	sampleEvery = 20 * time.Hour
	sampleAge   = 70 * 24 * time.Hour
	maxSampled  = 256
)

// addGrowth adds to the facts of each vault how much of its file system was in use before, and remembers how much is
// now. Where that cannot be, a forecast is made of less.
func (s *Service) addGrowth(f *status.Facts) {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	kept := map[string][]status.Sample{}
	if err := s.readKept(growthFile, &kept); err != nil && !errors.Is(err, fs.ErrNotExist) {
		kept = map[string][]status.Sample{} // what is no such file is replaced
	}
	changed := false
	for i := range f.Vaults {
		v := &f.Vaults[i]
		if v.Problem != "" || v.Size <= 0 || v.Vault.ID == "" {
			continue
		}
		now := status.Sample{At: f.Now.UTC(), Used: v.Size - v.Free}
		var next []status.Sample
		next, changed = sampled(kept[v.Vault.ID], now, changed)
		if len(kept) < maxSampled || kept[v.Vault.ID] != nil {
			kept[v.Vault.ID] = next
		}
		if v.Used = slices.Clone(next); !next[len(next)-1].At.Equal(now.At) {
			v.Used = append(v.Used, now)
		}
	}
	if changed {
		s.noteKept(growthFile, s.writeKept(growthFile, kept))
	}
}

// sampled are samples with another one, if it is due; what is too old is left out, and what is of a time to come, which
// a clock made that was wrong.
func sampled(old []status.Sample, now status.Sample, before bool) (next []status.Sample, changed bool) {
	for _, s := range old {
		if age := now.At.Sub(s.At); age >= 0 && age <= sampleAge {
			next = append(next, s)
		}
	}
	if n := len(next); n == 0 || now.At.Sub(next[n-1].At) >= sampleEvery {
		return append(next, now), true
	}
	return next, before || len(next) != len(old)
}
