package mdraid

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/raid"
)

// Device is a disk or partition that is a member.
type Device struct {
	Name  string // for messages: vda2
	R     io.ReaderAt
	Size  int64 // bytes
	Super *Super
}

// Array is a RAID. Reading is safe from several goroutines when its members are.
type Array struct {
	Name, UUID string
	Level      string   // raid5, linear
	Size       int64    // bytes; 0 where it cannot be read
	Devices    []string // its members that are read, by Name
	Missing    int      // members that are not here or not usable
	Notes      []string
	Err        error // why it cannot be read

	set *raid.Set
}

// ReadAt reads as io.ReaderAt does.
func (a *Array) ReadAt(p []byte, off int64) (int, error) {
	if a.Err != nil {
		return 0, a.Err
	}
	return a.set.ReadAt(p, off)
}

// Whole tells whether all members of the array of that UUID are among the devices.
func Whole(id string, devices []Device) bool {
	for _, a := range Assemble(ofArray(id, devices)) {
		return a.Missing == 0
	}
	return false
}

func ofArray(id string, devices []Device) []Device {
	return slices.DeleteFunc(slices.Clone(devices), func(d Device) bool { return d.Super.UUID != id })
}

// Assemble makes of members their arrays, in the order in which they are met. The
// member with most events says what holds.
func Assemble(devices []Device) []*Array {
	var arrays []*Array
	var seen []string
	for _, d := range devices {
		if id := d.Super.UUID; !slices.Contains(seen, id) {
			seen = append(seen, id)
			arrays = append(arrays, assemble(ofArray(id, devices)))
		}
	}
	return arrays
}

func assemble(devices []Device) *Array {
	newest := devices[0].Super
	for _, d := range devices {
		if d.Super.Events > newest.Events {
			newest = d.Super
		}
	}
	a := &Array{Name: newest.Name, UUID: newest.UUID, Level: levelName(newest.Level)}
	if a.Err = newest.readable(); a.Err != nil {
		for _, d := range devices {
			a.Devices = append(a.Devices, d.Name)
		}
		return a
	}
	set, err := raid.New(a.config(newest, devices))
	if err != nil {
		a.Err = fmt.Errorf("array %s (%s): %w", a.title(), a.Level, err)
		if len(a.Notes) > 0 {
			a.Err = fmt.Errorf("%w; %s", a.Err, strings.Join(a.Notes, "; "))
		}
		return a
	}
	a.set, a.Size = set, set.Size()
	if a.Missing > 0 {
		a.note("%d of its %d members are missing: what they held is taken from the others", a.Missing, newest.Disks)
		if !newest.clean && newest.Level >= 4 && newest.Level <= 6 {
			a.note("it was in use: what it was writing at that moment may be computed wrongly")
		}
	}
	return a
}

func (a *Array) note(format string, args ...any) {
	a.Notes = append(a.Notes, fmt.Sprintf(format, args...))
}

func (a *Array) title() string {
	if a.Name != "" {
		return a.Name
	}
	return a.UUID
}

// readable says why an array cannot be read whatever its members.
func (s *Super) readable() error {
	switch {
	case s.reshaping:
		return errors.New("the array is being reshaped: part of it lies as before, part as after")
	case s.journal:
		return errors.New("the array has a journal, which may hold what its members do not")
	case s.Disks < 1 || s.Disks > maxMembers:
		return fmt.Errorf("the array has %d members, which is not possible", s.Disks)
	}
	switch s.Level {
	case raid.Linear, 0, 1, 4, 5, 6, 10:
		return nil
	}
	return fmt.Errorf("the array is of level %d (%s), which is not read", s.Level, levelName(s.Level))
}

// config places each member that is usable. Of two for one place the one that is
// filled holds, then the first.
func (a *Array) config(s *Super, devices []Device) raid.Config {
	c := raid.Config{Level: s.Level, Layout: s.layout, Chunk: s.chunk, Len: s.size, Members: make([]raid.Member, s.Disks)}
	names := make([]string, s.Disks)
	for _, d := range devices {
		role := s.role(d.Super.device)
		switch {
		case d.Super.Events+1 < s.Events && d.Super.role(d.Super.device) != roleSpare:
			a.note("%s fell behind (%d events of %d): it is left out", d.Name, d.Super.Events, s.Events)
			continue
		case role == roleFaulty:
			a.note("%s had failed: it is left out", d.Name)
			continue
		case role < 0 || role >= s.Disks || d.Super.filledTo == 0:
			continue // a spare
		}
		was := c.Members[role]
		if was.R != nil && was.Valid == 0 {
			if !d.Super.standIn {
				a.note("%s is a copy of %s: it is passed over", d.Name, names[role])
			}
			continue
		}
		n := d.Super.dataLen
		m := raid.Member{R: io.NewSectionReader(d.R, d.Super.dataOff, n), Len: n}
		if d.Super.filledTo > 0 {
			m.Valid = d.Super.filledTo
		}
		if d.Super.badBlocks {
			a.note("%s has blocks that it could not keep; should one lie where data is, the array's reading may be wrong there", d.Name)
		}
		c.Members[role], names[role] = m, d.Name
	}
	for i, m := range c.Members {
		if m.R == nil {
			a.Missing++
		} else {
			a.Devices = append(a.Devices, names[i])
		}
	}
	return c
}

func levelName(level int) string {
	switch level {
	case raid.Linear:
		return "linear"
	case -4:
		return "multipath"
	case -5:
		return "faulty"
	case -100:
		return "container"
	}
	return fmt.Sprintf("raid%d", level)
}
