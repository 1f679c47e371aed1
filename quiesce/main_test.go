package quiesce

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/quiesce/qga"
)

// The test binary is a guard as well, and a backup that dies while its guest
// is frozen.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "be-a-guard" {
		if err := RunGuard(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if text := os.Getenv("QUIESCE_TEST_CHILD"); text != "" {
		child(text)
	}
	os.Exit(m.Run())
}

// childOrder is what the child is to do.
type childOrder struct {
	Socket, Journal string
	Guarded         bool
	Polite          bool          // it ends when it is told to
	Limit           time.Duration // all of its time-outs; 0: as usual
}

// child freezes a guest and then waits for its end.
func child(text string) {
	var o childOrder
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		panic(err)
	}
	journal, err := OpenJournal(o.Journal)
	if err != nil {
		panic(err)
	}
	options := Options{Machine: "web1", Asked: "filesystem", Reach: Reach{QGA: o.Socket}, Journal: journal, FreezeTimeout: o.Limit, HoldTimeout: o.Limit}
	if o.Guarded {
		options.Guard = testGuard()
		options.Guard.slack, options.Guard.grace = o.Limit, 10*o.Limit
	}
	_, err = Quiesce(context.Background(), qga.New(o.Socket), options, func(ctx context.Context) error {
		fmt.Println("frozen")
		if o.Polite {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		select {}
	})
	fmt.Println(err)
	os.Exit(1)
}

func testGuard() Guard { return Guard{Command: GuardCommand("be-a-guard")} }
