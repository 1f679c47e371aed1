package main

import "github.com/holdfast-backup/holdfast/daemon/api"

// formatSize writes bytes for people.
func formatSize(bytes int64) string { return api.FormatSize(bytes) }

// parseSize reads a number of bytes: 65536, 64K, 64KiB, 1.5GiB.
func parseSize(s string) (int64, error) { return api.ParseSize(s) }
