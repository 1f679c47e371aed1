package ntfs

import (
	"bytes"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// restartPage is a page of $LogFile as Windows writes it.
func restartPage(lsn uint64, client, flags uint16) []byte {
	b := make([]byte, 4096)
	copy(b, "RSTR")
	le.PutUint16(b[4:], 30)
	le.PutUint16(b[6:], 9)
	le.PutUint32(b[16:], 4096)
	le.PutUint32(b[20:], 4096)
	le.PutUint16(b[24:], 48)
	le.PutUint64(b[48:], lsn)
	le.PutUint16(b[48+12:], client)
	le.PutUint16(b[48+14:], flags)
	b[30] = 7
	renew(b)
	return b
}

func TestTheJournalsStateIsTold(t *testing.T) {
	t.Parallel()
	small := loadBytes(t, smallImage(t))
	n := mustInode(t, small.v, logRecord)
	s, err := small.v.stream(n, kindData, "")
	if err != nil {
		t.Fatal(err)
	}
	at, _, err := s.extent(0)
	if err != nil {
		t.Fatal(err)
	}
	used, clean := restartPage(20, 0, 0), restartPage(10, 0, restartClean)
	torn := restartPage(30, noClient, 0)
	torn[1022]++
	for _, c := range []struct {
		name          string
		first, second []byte
		want          tree.Journal
	}{
		{"as ntfs-3g leaves it", bytes.Repeat([]byte{0xFF}, 4096), bytes.Repeat([]byte{0xFF}, 4096), tree.Clean},
		{"in use", used, clean, tree.NotReplayed},
		{"in use, the second newer", clean, used, tree.NotReplayed},
		{"closed", restartPage(9, noClient, 0), make([]byte, 4096), tree.Clean},
		{"unmounted", restartPage(30, 0, restartClean), used, tree.Clean},
		{"the first torn", torn, used, tree.NotReplayed},
		{"nothing valid", torn, torn, tree.NotReplayed},
		{"zeros", make([]byte, 4096), make([]byte, 4096), tree.NotReplayed},
	} {
		m := small.copied()
		copy(m.b[at:], c.first)
		copy(m.b[at+4096:], c.second)
		info := m.mustOpen().Info()
		if info.Journal != c.want || (info.Journal == tree.NotReplayed) != strings.Contains(strings.Join(info.Notes, ""), "$LogFile") {
			t.Errorf("%s: %s, %q", c.name, info.Journal, info.Notes)
		}
	}
}

func TestADirtyOrHibernatedVolumeIsNoted(t *testing.T) {
	t.Parallel()
	m := kinds(t, nil, func(m *maker) { m.write("hiberfil.sys", append([]byte("hibr"), m.random(10_000)...)) })
	m.attribute(volumeRecord, kindVolumeInfo, func(a []byte) { a[int(le.Uint16(a[20:]))+10] |= volumeDirty })
	notes := strings.Join(m.mustOpen().Info().Notes, "; ")
	for _, want := range []string{"marked dirty", "hibernated"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note of %s: %q", want, notes)
		}
	}
}
