// Package image reads the disks of machines that are off: raw files, block
// devices and qcow2 images, as sources of a backup.
package image
