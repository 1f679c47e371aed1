// Package config reads the configuration file of the daemon.
//
// [Read] makes a [Config] of a file, with what is usual where it says nothing, and
// [Config.Text] writes it again, with everything filled in. Whatever is not understood is an
// error that names line and key; several are told at once. A Config is a value that nobody
// changes; it holds no secrets, only where they lie. Nothing is opened or made here, but
// [Config.Look] tells what of what it names is not there.
package config
