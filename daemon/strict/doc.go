// Package strict reads files that people write, in YAML: what is not understood is an
// error that names its line, never something that is passed over.
//
// A [File] is parsed by [Parse]; [File.Decode] puts it into a value and refuses keys that this
// has no field for, [File.Take] cuts a section out for somebody else to decode, and
// [File.Line] says where a key stands, for what is found wrong later. Anchors, aliases, merges
// and tags are refused, so that no file is larger than it looks or means what it does not
// say. No input makes it panic.
package strict
