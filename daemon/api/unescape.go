package api

import "net/url"

// UnescapePath reads what [EscapePath] wrote; what it did not write is returned as it is.
func UnescapePath(s string) string {
	if path, err := url.PathUnescape(s); err == nil {
		return path
	}
	return s
}
