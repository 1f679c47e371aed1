// Package ntfs reads NTFS volumes (3.0 and 3.1, of Windows 2000 and later) and
// shows them as a [tree.FileSystem]; [Format] is all that it exports.
//
// What is shown how:
//
//   - An inode number is the file's reference as Windows gives it out: 48 bits of
//     record number, 16 of its sequence number above. A reference whose record
//     has been used anew since is damage of the entry, never another file.
//   - Names are WTF-8 (package wtf8). DOS names are not listed, and are found. The
//     volume's own system files ($MFT and the others below record 16) are left out.
//   - There is no owner in the sense of Linux: 0, modes 0755, 0644 and 0777 (links),
//     unless WSL left some ($LXUID, $LXGID, $LXMOD). Permissions and DOS
//     attributes of Windows: the attributes are read as system.ntfs_attrib (little-endian)
//     and system.ntfs_attrib_be, and the raw reparse point as system.ntfs_reparse_data, as
//     ntfs-3g names them. Like there these are not listed. ACLs are not read.
//   - A folder has one link, and files as many as they have names, DOS names not counted.
//   - Alternate data streams are the attributes user.NAME, as with ntfs-3g: Xattr
//     gives those up to 64 KiB, [tree.Streamer] all.
//   - Symbolic links and junctions of Windows give their substitute name with
//     slashes: "..\x" is "../x", `\??\C:\Users` is "/C:/Users", `\??\UNC\host\share`
//     is "//host/share", `\??\Volume{...}\` is "/Volume{...}/". So what is absolute there is
//     absolute here. Links of WSL and of Interix (ntfs-3g's) are given as they are stored;
//     devices of both are devices, FIFOs and sockets those of WSL only, since an empty
//     system file is what Interix calls a FIFO.
//   - Files that Windows compressed by CompactOS (WOF: XPRESS Huffman and LZX, package
//     wof) are read as what they hold, and take up what is compressed.
//   - Content that is encrypted (EFS), or that lies behind a reparse point that stands for another place (deduplication,
//     WIMBoot, cloud placeholders, others by name or number), is an
//     [tree.UnsupportedError] of Open, never zeros, and of ReadDir where nothing of a
//     folder is there.
//
// $LogFile is not replayed: whether anything waits in it is said in Info. NTFS
// journals metadata only, so what is shown is the volume as of the last writes
// that reached it.
//
// Formats are after the documentation of the Linux-NTFS project
// (https://flatcap.github.io/linux-ntfs/ntfs/), reparse points after [MS-FSCC],
// compression after [MS-XCA] 2.5 and what package wof names.
package ntfs
