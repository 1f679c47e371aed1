// Package bitlocker opens what BitLocker encrypts (Windows 7 and later, and BitLocker To
// Go), for reading, in plain Go. It knows nothing of what lies inside.
//
// [ReadHeader] reads the metadata, from the first of its three copies whose checksum is
// right; [Header.Unlock] finds the volume's master key with a password, the recovery
// password (48 digits) or the content of a startup key (.BEK), [Header.UnlockClear]
// without any where protection is suspended; [Header.Open] gives the plain content as an
// io.ReaderAt, with zeros where the metadata lie, as Windows shows them. A key that opens
// nothing is [ErrWrongKey]; what is not read (Vista, volumes of which a part is encrypted,
// other ciphers) is an [UnsupportedError] that says what it is.
//
// AES-CBC with and without the Elephant diffuser and AES-XTS are read, with keys of 128
// and 256 bits.
//
// Everything in the metadata is bounded before it is used: offsets by the volume, entries
// by the 64 KiB of a copy, and how many keys a secret is stretched for. Secrets appear in
// no error and no text. The hash of the metadata that lies behind them, encrypted, is not
// checked; the keys are, each by its own code.
//
// Sources: "BitLocker Drive Encryption (BDE) format specification" of the libbde project;
// the structures that dislocker documents, for the checksum and the states of a volume;
// N. Ferguson, "AES-CBC + Elephant diffuser" (2006); RFC 3610 for CCM.
package bitlocker
