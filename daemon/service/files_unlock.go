package service

import (
	"context"
	"encoding/base64"
	"errors"
	"runtime/debug"
	"slices"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/fusefs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

// UnlockGuest opens encrypted volumes of a guest for the caller, and for nobody else, and returns the volumes by
// then. They stay open until the caller did not use them for some minutes, their vault is let go, or LockGuest
// ends it; so long the keys are in memory, and nowhere else.
func (s *Service) UnlockGuest(ctx context.Context, at api.GuestAt, keys api.GuestKeys) (api.GuestVolumes, error) {
	secrets, err := secretsOf(keys)
	if err != nil {
		return api.GuestVolumes{}, err
	}
	return askGuest(ctx, s, at, func(ctx context.Context, before *guest) (api.GuestVolumes, error) {
		select { // trying one may take a GiB of memory
		case s.files.trying <- struct{}{}:
		case <-ctx.Done():
			return api.GuestVolumes{}, context.Cause(ctx)
		}
		defer func() { <-s.files.trying }()
		locked := lockedIn(before.Guest)
		if len(locked) == 0 {
			return api.GuestVolumes{}, invalidf("no volume of this point waits for a passphrase or key file")
		}
		secrets := append(secrets, before.secrets...)
		now, opener := s.files.guests.openWith(before, secrets)
		still := lockedIn(now)
		debug.FreeOSMemory() // of what tried them
		if ctx.Err() != nil {
			return api.GuestVolumes{}, context.Cause(ctx) // who asked is gone
		}
		if !slices.ContainsFunc(locked, func(l *guestfs.UnreadableError) bool { return !among(still, l.Volume) }) {
			return api.GuestVolumes{}, still[0]
		}
		caller, _ := api.CallerOf(ctx)
		s.files.guests.keep(before, caller.Name, now, secrets, opener)
		all := fusefs.DescribeVolumes(now)
		all.Point = string(before.point.ID)
		return all, nil
	})
}

// LockGuest lets go of what UnlockGuest opened for the caller.
func (s *Service) LockGuest(ctx context.Context, at api.GuestAt) error {
	_, err := askGuest(ctx, s, at, func(_ context.Context, g *guest) (struct{}, error) {
		if g.key.caller != "" {
			s.files.guests.forget(g)
		}
		return struct{}{}, nil
	})
	return err
}

func secretsOf(keys api.GuestKeys) (secrets [][]byte, err error) {
	for _, p := range keys.Passphrases {
		secrets = append(secrets, []byte(p))
	}
	for _, k := range keys.KeyFiles {
		b, err := base64.StdEncoding.DecodeString(k)
		if err != nil {
			return nil, invalidf("a key file is written in base64")
		}
		secrets = append(secrets, b)
	}
	if len(secrets) == 0 {
		return nil, invalidf("neither a passphrase nor a key file was given")
	}
	return secrets, nil
}

// lockedIn returns why volumes cannot be read that wait for a key.
func lockedIn(g *guestfs.Guest) (locked []*guestfs.UnreadableError) {
	for _, v := range g.Volumes() {
		if id, err := v.Identify(); err != nil || id.Readable {
			continue
		}
		var shut *guestfs.UnreadableError
		if _, err := v.FS(); errors.As(err, &shut) && shut.Locked && shut.Volume == v.Name {
			locked = append(locked, shut)
		}
	}
	return locked
}

func among(locked []*guestfs.UnreadableError, volume string) bool {
	return slices.ContainsFunc(locked, func(l *guestfs.UnreadableError) bool { return l.Volume == volume })
}
