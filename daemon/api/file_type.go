package api

// FileType is the word for the type in a mode, as stat(2) has it: what GuestFile and FileFacts have in Type.
func FileType(mode uint32) string {
	switch mode & 0o170000 {
	case 0o100000:
		return "file"
	case 0o040000:
		return "folder"
	case 0o120000:
		return "link"
	case 0o060000:
		return "block"
	case 0o020000:
		return "char"
	case 0o010000:
		return "pipe"
	case 0o140000:
		return "socket"
	}
	return "unknown"
}
