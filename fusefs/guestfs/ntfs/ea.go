package ntfs

// linux is what the Windows Subsystem for Linux leaves in extended attributes
// of the old kind ($EA): owner, mode and device of a file.
type linux struct {
	uid, gid, mode       uint32
	hasUID, hasGID, hasM bool
	major, minor         uint32
}

const maxEA = 64 << 10

// linux returns what WSL left of a file; what cannot be decoded is passed over.
func (v *volume) linux(n *inode) (l linux, err error) {
	if len(n.parts(kindEA, "")) == 0 {
		return l, nil
	}
	b, err := v.value(n, kindEA, "", maxEA)
	if err != nil {
		return l, err
	}
	const header = 8
	for len(b) > header {
		next, nameLen, valueLen := int64(le.Uint32(b)), int(b[5]), int(le.Uint16(b[6:]))
		if header+nameLen+1+valueLen > len(b) {
			break
		}
		value := b[header+nameLen+1:][:valueLen]
		l.set(string(b[header:header+nameLen]), value)
		if next < header || next > int64(len(b)) {
			break
		}
		b = b[next:]
	}
	return l, nil
}

func (l *linux) set(name string, value []byte) {
	if len(value) < 4 {
		return
	}
	switch number := le.Uint32(value); name {
	case "$LXUID":
		l.uid, l.hasUID = number, true
	case "$LXGID":
		l.gid, l.hasGID = number, true
	case "$LXMOD":
		l.mode, l.hasM = number, true
	case "$LXDEV":
		if l.major = number; len(value) >= 8 {
			l.minor = le.Uint32(value[4:])
		}
	}
}
