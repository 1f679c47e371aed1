package access_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/access"
)

func TestAttemptsAreSlowedDownAndForgotten(t *testing.T) {
	c := &clock{now: start}
	a := access.NewAttempts(3, time.Minute, c.Now)
	for range 3 {
		if a.Wait("x") != 0 {
			t.Error("it waits before it failed")
		}
		a.Failed("x")
	}
	if a.Wait("x") != time.Minute || a.Wait("y") != 0 {
		t.Errorf("%v %v", a.Wait("x"), a.Wait("y"))
	}
	c.add(time.Minute)
	if a.Wait("x") != 0 {
		t.Error("it waits when the minute is over")
	}
	for range 3 {
		a.Failed("x")
	}
	c.add(-24 * time.Hour) // the clock was set back
	if a.Wait("x") != 0 {
		t.Error("it waits for a day")
	}
	for i := range 20000 { // memory stays bounded, and whoever fails now is counted
		a.Failed(fmt.Sprint(i))
	}
	for range 3 {
		a.Failed("z")
	}
	if a.Wait("z") == 0 {
		t.Error("among many sources it is not counted")
	}
	for in, want := range map[string]string{"192.0.2.1:5": "192.0.2.1", "[::ffff:192.0.2.1]:5": "192.0.2.1", "[2001:db8:1:2:3::4]:5": "2001:db8:1:2::/64", "@": "@", "": ""} {
		if got := access.Source(in); got != want {
			t.Errorf("%s is counted under %s", in, got)
		}
	}
}
