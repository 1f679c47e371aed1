package thin

import (
	"encoding/binary"
	"fmt"
	"sort"
)

// node is a block of a tree whose values are numbers of 64 bits.
type node struct {
	leaf         bool
	keys, values []uint64
}

// node reads one, from memory where it is there.
func (p *Pool) node(n int64) (*node, error) {
	p.mu.Lock()
	known := p.nodes[n]
	p.mu.Unlock()
	if known != nil {
		return known, nil
	}
	b, err := p.read(n, saltNode)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	count, most, size := le.Uint32(b[16:]), le.Uint32(b[20:]), le.Uint32(b[24:])
	kind := le.Uint32(b[4:])
	if size != 8 || most > (blockSize-nodeHead)/16 || count > most || kind != 1 && kind != 2 {
		return nil, &CorruptError{n * blockSize, fmt.Sprintf("a node of kind %d with %d of %d values of %d bytes is not possible", kind, count, most, size)}
	}
	made := &node{leaf: kind == 2}
	for i := range int(count) {
		made.keys = append(made.keys, le.Uint64(b[nodeHead+8*i:]))
		made.values = append(made.values, le.Uint64(b[nodeHead+8*int(most)+8*i:]))
		if i > 0 && made.keys[i] <= made.keys[i-1] {
			return nil, &CorruptError{n * blockSize, "its keys are not in order"}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.nodes) >= maxNodes {
		clear(p.nodes) // what is needed is read again soon
	}
	p.nodes[n] = made
	return made, nil
}

// find looks a key up below a root. Where it is not there, next is the first key that
// may be, so that a hole is passed over at once.
func (p *Pool) find(root int64, key uint64) (value uint64, found bool, next uint64, err error) {
	next = ^uint64(0)
	for range maxDepth {
		n, err := p.node(root)
		if err != nil {
			return 0, false, 0, err
		}
		i := sort.Search(len(n.keys), func(i int) bool { return n.keys[i] > key }) - 1
		if i+1 < len(n.keys) {
			next = n.keys[i+1]
		}
		if i < 0 {
			return 0, false, next, nil
		}
		if n.leaf {
			return n.values[i], n.keys[i] == key, next, nil
		}
		root = int64(min(n.values[i], maxBlocks))
	}
	return 0, false, 0, &CorruptError{root * blockSize, fmt.Sprintf("its tree is more than %d deep", maxDepth)}
}
