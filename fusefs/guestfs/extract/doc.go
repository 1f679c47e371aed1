// Package extract takes files out of a guest: [Copy] into a folder of the host, [Tar] and
// [Zip] into a stream.
//
// What a guest wrote is not trusted with the host. Copy makes each name within an open
// folder, one component at a time, never through a link, and replaces nothing that it was not told
// to: whatever names, links and folders a file system claims to have, nothing outside the
// target is touched. Files appear under their names when they are whole. Owners, setuid
// bits, devices and links that lead out of the copy are kept only when asked for
// ([Options.AsIs]), and the first three by root alone.
//
// What cannot be taken is a [Problem] in the result, and the rest is taken; a target
// that fails (full, read-only) ends it.
package extract
