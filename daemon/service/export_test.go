package service

import (
	"time"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// UseFormats has guests' volumes be read so.
func (s *Service) UseFormats(f ...tree.Format) { s.files.guests.formats = f }

// OpenGuests counts the guests that are open, their volumes, and who uses them.
func (s *Service) OpenGuests() (guests, volumes, users int) {
	gs := &s.files.guests
	gs.mu.Lock()
	defer gs.mu.Unlock()
	for _, g := range gs.open {
		users += g.users
	}
	return len(gs.open), gs.shelf.Open(), users + len(s.files.slots)
}

// PassTime lets go of what is let go after a while.
func (s *Service) PassTime(by time.Duration) {
	s.files.guests.mu.Lock()
	defer s.files.guests.mu.Unlock()
	s.files.guests.dropLocked(time.Now().Add(by))
}
