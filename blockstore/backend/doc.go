// Package backend is where the files of a vault lie.
//
// [Dir] is a folder. Its files appear whole or not at all: they are written
// under a name that readers pass over, synced, linked to their own name, and
// the folders that name them are synced. Nothing is changed in place. [Lock] is
// the lock that makes a process the owner of a vault.
//
// Names are relative to the vault's folder and separated by slashes; they are
// the keys that the same files have in an object store.
package backend
