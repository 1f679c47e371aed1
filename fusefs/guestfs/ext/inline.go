package ext

// inlineData returns content that lies in the inode: sixty bytes in place of the
// map of blocks, the rest as the attribute system.data.
func (v *volume) inlineData(in *inode, size int64) ([]byte, error) {
	if size > int64(wordsSize)+int64(len(in.raw)) {
		return nil, damagedInode(in.number, "%d bytes of inline data", size)
	}
	words, more, err := v.inlineParts(in)
	if err != nil {
		return nil, err
	}
	data := make([]byte, 0, len(words)+len(more))
	data = append(append(data, words...), more...)
	return data[:min(size, int64(len(data)))], nil
}

// inlineParts returns both places of inline content, which belong to the cache.
func (v *volume) inlineParts(in *inode) (words, more []byte, err error) {
	words = in.raw[wordsAt : wordsAt+wordsSize]
	list, err := v.bodyXattrs(in)
	if err != nil {
		return nil, nil, err
	}
	for _, a := range list {
		if a.index == xattrSystem && string(a.name) == "data" {
			return words, a.value, nil
		}
	}
	return words, nil, nil
}
