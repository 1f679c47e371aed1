package server

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// longestName is how long the name of a download may be, in bytes.
const longestName = 200

// attachment is a Content-Disposition (RFC 6266) under which a client may save something that a guest calls so.
func attachment(name string) string {
	name = safeName(name)
	ascii := strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf || r == '%' {
			return '_'
		}
		return r
	}, name)
	value := `attachment; filename="` + ascii + `"`
	if ascii != name {
		value += "; filename*=UTF-8''" + strings.ReplaceAll(url.QueryEscape(name), "+", "%20")
	}
	return value
}

// safeName is a name that no system takes for anything but a plain file: without separators, characters that
// steer a terminal or the direction of text, and dots or blanks where they mean more.
func safeName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) || strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	if strings.HasPrefix(name, ".") {
		name = "_" + name[1:]
	}
	name = strings.TrimRight(strings.TrimLeft(name, " "), ". ")
	if len(name) > longestName { // its end tells what it is
		dot := strings.LastIndexByte(name, '.')
		if dot < 0 || len(name)-dot > 16 {
			dot = len(name)
		}
		name = strings.ToValidUTF8(name[:longestName-(len(name)-dot)], "") + name[dot:]
	}
	if name == "" {
		return "file"
	}
	return name
}
