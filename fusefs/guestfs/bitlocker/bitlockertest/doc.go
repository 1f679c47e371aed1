// Package bitlockertest makes volumes of BitLocker around ready content, for tests: no
// tool outside of Windows does. It is written from the descriptions that package
// bitlocker names, knows nothing of the reader's code, and what it makes is read by
// dislocker and cryptsetup.
package bitlockertest
