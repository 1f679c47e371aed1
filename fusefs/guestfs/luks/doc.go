// Package luks opens what LUKS encrypts, versions 1 and 2, for reading, in plain Go. It
// knows nothing of what lies inside.
//
// [ReadHeader] reads and checks a header (of version 2 the second copy, too, when the
// first is damaged); [Header.Unlock] finds the volume key with a passphrase or the
// content of a key file; [Header.Open] gives the plain content as an io.ReaderAt. A key
// that opens no slot is [ErrWrongKey], and what is not read (other ciphers, integrity,
// a reencryption under way) an [UnsupportedError] that says what it is.
//
// Everything in a header is bounded before it is used: offsets by the volume, stripes,
// key sizes, and the memory and time that a key slot may ask for by [Limits]. Secrets
// appear in no error and no text.
//
// Sources: "LUKS On-Disk Format Specification" 1.2.3 and "LUKS2 On-Disk Format
// Specification" 1.1.1, both of the cryptsetup project; dm-crypt's documentation in the
// Linux kernel for the initialisation vectors.
package luks
