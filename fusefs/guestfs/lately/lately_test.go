package lately

import "testing"

func TestWhatWasUsedLeastLatelyGoesFirst(t *testing.T) {
	c := New[int, string](3 * (overhead + 10))
	for i := range 3 {
		c.Put(i, "x", 10)
	}
	c.Get(0)
	c.Put(3, "x", 10)
	for i, want := range []bool{true, false, true, true} {
		if _, have := c.Get(i); have != want {
			t.Errorf("%d is kept: %v, want %v", i, have, want)
		}
	}
}

func TestACacheStaysWithinItsBudget(t *testing.T) {
	c := New[int, string](10000)
	for i := range 1000 {
		c.Put(i%300, "x", int64(i%700))
		if c.used > c.budget {
			t.Fatalf("%d bytes are kept, the budget is %d", c.used, c.budget)
		}
	}
	c.Put(1, "large", 10001)
	if _, have := c.Get(1); have {
		t.Error("a value larger than the budget is kept")
	}
	var sum int64
	for e := c.order.Front(); e != nil; e = e.Next() {
		sum += e.Value.(*entry[int, string]).cost
	}
	if sum != c.used || len(c.items) != c.order.Len() {
		t.Errorf("the books say %d bytes in %d entries, there are %d in %d", c.used, len(c.items), sum, c.order.Len())
	}
}
