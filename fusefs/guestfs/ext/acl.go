package ext

const (
	aclVersion   = 1 // as it is stored
	xattrVersion = 2 // as getxattr(2) gives it
	aclUser      = 2
	aclGroup     = 8
	aclNobody    = 0xFFFFFFFF
)

// convertACL turns a stored list, whose entries have an identity only where one
// user or group is meant, into the form of Linux's attributes, where all have.
func convertACL(ino uint32, b []byte) ([]byte, error) {
	if len(b) < 4 || le.Uint32(b) != aclVersion {
		return nil, damagedInode(ino, "its ACL is of an unknown version")
	}
	out := le.AppendUint32(nil, xattrVersion)
	for b = b[4:]; len(b) > 0; {
		size, id := 4, uint32(aclNobody)
		if len(b) >= 2 && (le.Uint16(b) == aclUser || le.Uint16(b) == aclGroup) {
			size = 8
		}
		if len(b) < size {
			return nil, damagedInode(ino, "its ACL ends within an entry")
		}
		if size == 8 {
			id = le.Uint32(b[4:])
		}
		out = append(out, b[:4]...) // tag and permissions
		out = le.AppendUint32(out, id)
		b = b[size:]
	}
	return out, nil
}
