package daemon

import (
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/config"
)

func TestNamesAreListedEachDayUnlessThatIsTurnedOff(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"vaults: [{path: /v}]": true, "vaults: [{path: /v, catalogue: never}]": false, "vaults: [{path: /v, catalogue: weekly on friday at 01:00}]": false} {
		c, err := config.Read([]byte(text), "UTC", nil)
		if err != nil {
			t.Fatal(err)
		}
		v := c.Vaults[0]
		last := at(t, "2026-05-09 12:00") // a Saturday
		s := situation{now: last.Add(24 * time.Hour), epoch: last.AddDate(0, 0, -9), tasks: []taskFacts{{kind: api.JobCatalogue, schedule: v.Catalogue.Schedule(v.Timezone), last: last}}}
		orders, _ := s.decide()
		if (len(orders) == 1) != want {
			t.Errorf("%s: %+v", text, orders)
		}
		if want && (orders[0].request.Kind != api.JobCatalogue || !orders[0].low || orders[0].request.Catalogue.Days != catalogueDays || orders[0].taskKind() != api.JobCatalogue) {
			t.Errorf("%+v", orders[0])
		}
	}
}
