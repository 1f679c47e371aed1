// Package keyring keeps the master secret of a sealed vault: wrapped, once for
// each way to open it.
//
// A [Key] is the secret encrypted by age (https://age-encryption.org/v1,
// through filippo.io/age, which is reviewed and widely used): to a passphrase, stretched by scrypt
// with parameters that the wrapped form carries, or to the public half of an
// age identity. [Unlock] tries what it is given. The wrapped keys lie in VAULT
// and in each pack's header; the secret itself is never written.
package keyring
