package api

import (
	"context"
	"net/url"
	"strings"
	"unicode/utf8"
)

// PurposeHeader is the header of a request that says in the client's own words what it is
// for, escaped as a part of a URL's path is. It is written into the audit log as said by the
// client, and believed by nobody.
const PurposeHeader = "Holdfast-For"

// maxPurpose is how long a purpose may be, in bytes.
const maxPurpose = 300

type purposeKey struct{}

// WithPurpose returns a context of what is asked for a purpose, which [Client] tells the daemon.
func WithPurpose(ctx context.Context, words string) context.Context {
	return context.WithValue(ctx, purposeKey{}, purpose(words))
}

// PurposeOf returns what is asked for, in the words of who asks; "": that was not said.
func PurposeOf(ctx context.Context) string {
	words, _ := ctx.Value(purposeKey{}).(string)
	return words
}

// purpose makes words fit for a line.
func purpose(words string) string {
	words = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError {
			return '?'
		}
		return r
	}, words)
	if len(words) > maxPurpose {
		words = strings.ToValidUTF8(words[:maxPurpose], "") + "..."
	}
	return words
}

// escapePurpose writes a purpose for [PurposeHeader].
func escapePurpose(words string) string { return url.PathEscape(purpose(words)) }

// ReadPurpose reads a [PurposeHeader]; what makes no sense is "".
func ReadPurpose(header string) string {
	words, err := url.PathUnescape(header)
	if err != nil {
		return ""
	}
	return purpose(words)
}
