package blockstore

import (
	"path/filepath"
	"testing"
)

func TestWhatIsKeptForReadersIsLetGoWhenTheVaultIsClosed(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "v")
	if _, err := Create(t.Context(), dir, CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	n, late := 0, make(chan struct{})
	v.AtClose(func() { n++ })
	v.AtClose(func() { n++ })
	if n != 0 {
		t.Error("it was let go before")
	}
	v.Close()
	v.Close()
	if n != 2 {
		t.Errorf("%d calls", n)
	}
	v.AtClose(func() { close(late) })
	<-late
}
