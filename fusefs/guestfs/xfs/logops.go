package xfs

import "fmt"

// A record is a row of operations (xlog_op_header): transaction, length, client,
// flags, then so many bytes. A transaction may go on in later records, and a region
// of an item too.
const (
	opHeader     = 12
	opStart      = 0x01
	opCommit     = 0x02
	opContinue   = 0x04 // goes on in the next record
	opContinued  = 0x08 // went on from the one before
	opEnd        = 0x10
	opUnmount    = 0x20
	transHeader  = 16
	maxRegions   = 1024 // of an item
	perOp        = 64   // bytes that keeping a region takes besides its own
	perOpenTrans = 128
)

// item is one change of a transaction: the first region says what it is.
type item struct {
	regions [][]byte
	have    int // regions met, which are more than those kept in the first pass
	total   int
}

func (i *item) kind() uint16 { return le.Uint16(i.regions[0]) }

// transaction is a set of changes that count together or not at all.
type transaction struct {
	lsn    uint64 // of the record that it began in
	header []byte
	items  []*item
	cost   int64
}

// assembler puts transactions together from records and hands over each one that
// was committed, in the order of their commits.
type assembler struct {
	open      map[uint32]*transaction
	room      *budget
	firstOnly bool // keep the first region of each item alone
	commit    func(*transaction) error
}

// run feeds the records of a span to an assembler.
func (j *journal) run(s span, a *assembler) error {
	r := s.tail
	for {
		if r.unclear != "" {
			return fmt.Errorf("its record at sector %d cannot be read: %s", r.sector, r.unclear)
		}
		data, whole, err := j.load(r)
		if err != nil {
			return err
		}
		if !whole {
			return fmt.Errorf("its record at sector %d is damaged", r.sector)
		}
		if err := a.record(r, data); err != nil {
			return fmt.Errorf("its record at sector %d: %w", r.sector, err)
		}
		if r.lsn == s.head.lsn {
			return nil
		}
		next, ok, err := j.head(r.sector + r.end())
		if err != nil {
			return err
		}
		if !ok || next.lsn <= r.lsn || next.lsn > s.head.lsn {
			return fmt.Errorf("no record follows that at sector %d", r.sector)
		}
		r = next
	}
}

// record takes in the operations of a record.
func (a *assembler) record(r record, data []byte) error {
	for n := 0; n < r.ops && len(data) >= opHeader; n++ {
		id, length, flags := be.Uint32(data), int64(be.Uint32(data[4:])), data[9]
		data = data[opHeader:]
		if length > int64(len(data)) {
			return fmt.Errorf("operation %d reaches past it", n)
		}
		body := data[:length:length]
		data = data[length:]
		if err := a.operation(r, id, flags, body); err != nil {
			return fmt.Errorf("operation %d: %w", n, err)
		}
	}
	return nil
}

func (a *assembler) operation(r record, id uint32, flags byte, body []byte) error {
	if flags&opUnmount != 0 {
		return nil
	}
	if flags&opStart != 0 {
		if old := a.open[id]; old != nil {
			a.room.left += old.cost
		}
		a.open[id] = &transaction{lsn: r.lsn, cost: perOpenTrans}
		return a.room.take(perOpenTrans)
	}
	t := a.open[id]
	if t == nil { // it began before the tail, so that all of it is in its place
		return nil
	}
	switch flags &^ (opContinue | opEnd) {
	case opCommit:
		delete(a.open, id)
		a.room.left += t.cost
		return a.commit(t)
	case opContinued:
		return a.more(t, body)
	case 0:
		if len(body) == 0 {
			return nil
		}
		return a.region(t, body)
	}
	return fmt.Errorf("its flags are %#x", flags)
}

func (a *assembler) keep(t *transaction, n int) error {
	t.cost += int64(n) + perOp
	return a.room.take(int64(n) + perOp)
}

// region takes in the next region of a transaction: its header, then those of
// its items.
func (a *assembler) region(t *transaction, b []byte) error {
	if t.header == nil {
		t.header = b
		return a.keep(t, 0)
	}
	var last *item
	if n := len(t.items); n > 0 && t.items[n-1].have < t.items[n-1].total {
		last = t.items[n-1]
	} else {
		if len(b) < 4 {
			return fmt.Errorf("an item begins with %d bytes", len(b))
		}
		last = &item{total: int(le.Uint16(b[2:]))}
		if last.total == 0 || last.total > maxRegions {
			return fmt.Errorf("an item of kind %#x has %d regions", le.Uint16(b), last.total)
		}
		t.items = append(t.items, last)
	}
	last.have++
	if a.firstOnly && last.have > 1 {
		return nil
	}
	last.regions = append(last.regions, b)
	return a.keep(t, len(b))
}

// more appends to the region that was cut off by the end of a record.
func (a *assembler) more(t *transaction, b []byte) error {
	if len(t.items) == 0 {
		if len(t.header)+len(b) > transHeader {
			return fmt.Errorf("the head of a transaction is %d bytes", len(t.header)+len(b))
		}
		t.header = append(t.header[:len(t.header):len(t.header)], b...)
		return a.keep(t, len(b))
	}
	last := t.items[len(t.items)-1]
	if last.have > len(last.regions) {
		return nil
	}
	i := len(last.regions) - 1
	last.regions[i] = append(last.regions[i], b...) // a region has no room of its record's behind it
	return a.keep(t, len(b))
}
