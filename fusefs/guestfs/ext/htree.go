package ext

import "strings"

const (
	hashRootAt  = 32 // behind ".", ".." and the description of the tree
	hashNodeAt  = 8  // behind an empty entry
	hashTail    = 8
	hashEntry   = 8
	hashBlock   = 0x0FFFFFFF // bits of an entry that number a block
	maxHashTree = 2          // levels between root and leaves, with large_dir

	// maxCollisions is how many leaves are looked into for one hash. No honest
	// folder comes near it.
	maxCollisions = 64
)

// hashNode is a block of a folder's hash tree: pairs of the lowest hash and the
// block for it. The hash of the first pair is zero, its place holds the counts.
type hashNode struct {
	b            []byte
	at           int // where the pairs begin
	limit, count int
}

// openHashNode takes a block for a node, and tells whether it looks like one.
func openHashNode(b []byte, recordLength func([]byte) int) (hashNode, bool) {
	n := hashNode{b: b}
	switch {
	case len(b) == 0:
		return n, false
	case le.Uint32(b) == 0 && recordLength(b) == len(b):
		n.at = hashNodeAt
	case recordLength(b) == 12 && recordLength(b[12:]) == len(b)-12 && le.Uint32(b[24:]) == 0 && b[29] == 8:
		n.at = hashRootAt
	default:
		return n, false
	}
	n.limit, n.count = int(le.Uint16(b[n.at:])), int(le.Uint16(b[n.at+2:]))
	return n, n.count >= 1 && n.count <= n.limit && n.at+n.limit*hashEntry <= len(b)
}

// sum is the checksum of a node: of what is used, and of the tail behind what
// could be used.
func (n hashNode) sum(seed uint32) uint32 {
	tail := n.tail()
	if tail == nil {
		return 0
	}
	crc := crc32c(seed, n.b[:n.at+n.count*hashEntry])
	crc = crc32c(crc, tail[:4])
	return crc32c(crc, zeros)
}

func (n hashNode) storedSum() uint32 {
	if tail := n.tail(); tail != nil {
		return le.Uint32(tail[4:])
	}
	return 1 // never equal to sum, which is 0 then
}

func (n hashNode) tail() []byte {
	at := n.at + n.limit*hashEntry
	if at+hashTail > len(n.b) {
		return nil
	}
	return n.b[at : at+hashTail]
}

func (n hashNode) hash(i int) uint32 {
	if i == 0 {
		return 0
	}
	return le.Uint32(n.b[n.at+i*hashEntry:])
}

func (n hashNode) child(i int) uint64 {
	return uint64(le.Uint32(n.b[n.at+i*hashEntry+4:]) & hashBlock)
}

// find returns the last pair whose hash is not above one.
func (n hashNode) find(hash uint32) int {
	low, high := 1, n.count
	for low < high {
		mid := (low + high) / 2
		if n.hash(mid) <= hash {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low - 1
}

// hashWalk looks for one name in one folder.
type hashWalk struct {
	v      *volume
	in     *inode
	m      mapping
	match  *matcher
	hash   uint32
	leaves int
	found  uint32
}

// lookupHash finds a name by the folder's hash tree. It is not usable when the
// tree is damaged, of a kind that we do not know, or made of names that we may
// fold in another way than the guest.
func (v *volume) lookupHash(in *inode, match *matcher) (ino uint32, usable bool) {
	if !in.has(flagIndex) || in.has(flagInline) || in.has(flagEncrypted) || match.fold && !isASCII(match.name) {
		return 0, false
	}
	m, err := v.mapping(in)
	if err != nil {
		return 0, false
	}
	w := hashWalk{v: v, in: in, m: m, match: match}
	root, ok := w.node(0)
	if !ok || root.at != hashRootAt || root.b[31]&1 != 0 {
		return 0, false
	}
	levels := int(root.b[30])
	name := match.name
	if match.fold {
		name = strings.ToLower(name)
	}
	if w.hash, ok = v.sb.hashName(root.b[28], name); !ok || levels > maxHashTree {
		return 0, false
	}
	usable = w.search(root, levels) && (w.found != 0 || w.leaves <= maxCollisions)
	return w.found, usable
}

func (w *hashWalk) block(logical uint64) (b []byte, ok bool) {
	r, err := w.v.at(&w.m, logical)
	if err != nil || !r.data {
		return nil, false
	}
	b, err = w.v.folderBlock(w.in, logical, r.physical)
	return b, err == nil
}

func (w *hashWalk) node(logical uint64) (hashNode, bool) {
	b, ok := w.block(logical)
	if !ok {
		return hashNode{}, false
	}
	return openHashNode(b, w.v.recordLength)
}

// search looks below a node, and goes on to the next pair as long as names of the
// same hash may lie there.
func (w *hashWalk) search(n hashNode, level int) bool {
	for i := n.find(w.hash); i < n.count; i++ {
		if level == 0 {
			if !w.leaf(n.child(i)) {
				return false
			}
		} else if next, ok := w.node(n.child(i)); !ok || next.at != hashNodeAt || !w.search(next, level-1) {
			return false
		}
		if w.found != 0 || w.leaves > maxCollisions || i+1 < n.count && n.hash(i+1)&^1 != w.hash {
			break
		}
	}
	return true
}

func (w *hashWalk) leaf(logical uint64) bool {
	w.leaves++
	b, ok := w.block(logical)
	if _, inner := openHashNode(b, w.v.recordLength); !ok || inner {
		return false
	}
	_, err := w.v.walkEntries(w.in, b, logical, func(d dirent) bool {
		if w.match.matches(d.name) {
			w.found = d.ino
		}
		return w.found == 0
	})
	return err == nil
}
