package ext

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// foldName makes equal what a folder with casefold takes for equal: names are
// decomposed, folded in full, and rid of what is not seen (NFDICF, as the kernel's
// fs/unicode has it). A name that is not UTF-8 equals only itself.
func foldName(name string) string {
	if isASCII(name) {
		return strings.ToLower(name)
	}
	if !utf8.ValidString(name) {
		return name
	}
	folded := norm.NFD.String(cases.Fold().String(norm.NFD.String(name)))
	return strings.Map(func(r rune) rune {
		if ignorable(r) {
			return -1
		}
		return r
	}, folded)
}

// ignorable is Default_Ignorable_Code_Point, as Unicode derives it.
func ignorable(r rune) bool {
	switch {
	case r >= 0xFFF9 && r <= 0xFFFB, r >= 0x13430 && r <= 0x1345F, unicode.Is(unicode.Prepended_Concatenation_Mark, r):
		return false
	case unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r), unicode.Is(unicode.Variation_Selector, r):
		return true
	}
	return unicode.Is(unicode.Cf, r)
}
