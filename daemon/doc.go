// Package daemon is Holdfast as a service of a host: it only joins the packages below it.
package daemon
