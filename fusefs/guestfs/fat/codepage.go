package fat

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/encoding/charmap"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// codePage decodes the bytes of short names.
type codePage = charmap.Charmap

// defaultCodePage is what DOS and Windows of most countries took at first.
const defaultCodePage = "IBM437"

// codePages are the code pages of one byte by their IANA names, in upper case.
var codePages = map[string]*charmap.Charmap{
	"IBM437": charmap.CodePage437, "IBM850": charmap.CodePage850, "IBM852": charmap.CodePage852,
	"IBM855": charmap.CodePage855, "IBM00858": charmap.CodePage858, "IBM860": charmap.CodePage860,
	"IBM862": charmap.CodePage862, "IBM863": charmap.CodePage863, "IBM865": charmap.CodePage865,
	"IBM866": charmap.CodePage866, "WINDOWS-874": charmap.Windows874, "WINDOWS-1250": charmap.Windows1250,
	"WINDOWS-1251": charmap.Windows1251, "WINDOWS-1252": charmap.Windows1252, "WINDOWS-1253": charmap.Windows1253,
	"WINDOWS-1254": charmap.Windows1254, "WINDOWS-1255": charmap.Windows1255, "WINDOWS-1256": charmap.Windows1256,
	"WINDOWS-1257": charmap.Windows1257, "WINDOWS-1258": charmap.Windows1258,
}

func codePageOf(name string) (*codePage, error) {
	if name == "" {
		name = defaultCodePage
	}
	if p, ok := codePages[strings.ToUpper(name)]; ok {
		return p, nil
	}
	var known []string
	for k := range codePages {
		known = append(known, k)
	}
	slices.Sort(known)
	return nil, &tree.UnsupportedError{What: "the volume", Why: fmt.Sprintf("code page %q for its short names is not known; these are: %s",
		name, strings.Join(known, ", "))}
}
