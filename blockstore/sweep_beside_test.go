package blockstore

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestReadersOfAnotherProcessSeeWholePointsWhilePacksAreRewritten sweeps beside
// backups and beside a process that reads the newest points again and again.
func TestReadersOfAnotherProcessSeeWholePointsWhilePacksAreRewritten(t *testing.T) {
	t.Parallel()
	dir := vaultIn(t, 16<<10)
	o := ownVault(t, dir, OwnOptions{})
	defer o.Close()
	o.store.packBytes = crashPackBytes
	var points []*Point
	backup := func(round int) {
		p, err := backUpSelfTold(t.Context(), o, "vm0", crashDisk(4, 0, round))
		if err != nil {
			t.Fatal(err)
		}
		points = append(points, p)
	}
	for i := range 14 {
		backup(i)
	}
	reader := childCommand(t, childOrder{Dir: dir, Read: true})
	stdin, err := reader.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	reader.Stdout, reader.Stderr = &out, &out
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	rewritten := 0
	for i := range 6 {
		if err := o.Delete(points[i]); err != nil { // the reader reads the ten newest
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			r, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, Trash: true})
			if err != nil {
				t.Error(err)
				return
			}
			rewritten += r.Rewritten
		})
		backup(14 + i)
		wg.Wait()
	}
	stdin.Close()
	if err := reader.Wait(); err != nil || !strings.Contains(out.String(), "read ") {
		t.Errorf("the reader in another process: %v: %s", err, &out)
	}
	if rewritten == 0 {
		t.Error("no pack was rewritten")
	}
	mustTellTheTruth(t, o.Vault)
	mustCheck(t, o.Vault)
}

func TestAPlanNamesTheOldestPointsAndNeverTheLastOrALockedOne(t *testing.T) {
	t.Parallel()
	dir := vaultIn(t, 16<<10)
	o := ownVault(t, dir, OwnOptions{})
	defer o.Close()
	o.store.packBytes = crashPackBytes
	var points []*Point
	for i := range 4 {
		for m, machine := range []string{"vm0", "vm1"} {
			p, err := backUpSelfTold(t.Context(), o, machine, crashDisk(6, m, i))
			if err != nil {
				t.Fatal(err)
			}
			points = append(points, p)
		}
	}
	if err := o.Lock(points[2], time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := o.Delete(points[7]); err != nil { // now vm1's last is points[5]
		t.Fatal(err)
	}
	all, err := o.PlanFree(t.Context(), 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	var got []PointID
	for _, p := range all.Points {
		got = append(got, p.ID)
	}
	want := []PointID{points[0].ID, points[1].ID, points[3].ID, points[4].ID}
	if strings.Join(ids(got), " ") != strings.Join(ids(want), " ") {
		t.Errorf("the plan names %v, want %v", got, want)
	}
	if one, err := o.PlanFree(t.Context(), all.Trash); err != nil || len(one.Points) != 0 || all.Trash < 300<<10 {
		t.Errorf("the trash is enough: %+v, %v", one, err)
	}
	for _, p := range all.Points {
		if err := o.Delete(p.Point); err != nil {
			t.Fatal(err)
		}
	}
	r, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, Trash: true})
	if err != nil || r.Freed < all.Frees*95/100 || r.Freed > all.Frees*105/100 {
		t.Errorf("%d bytes were planned, %+v, %v", all.Frees, r, err)
	}
	mustCheck(t, o.Vault)
}

func ids(list []PointID) (text []string) {
	for _, id := range list {
		text = append(text, string(id))
	}
	return text
}
