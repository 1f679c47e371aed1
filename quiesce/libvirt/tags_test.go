package libvirt

import (
	"strings"
	"testing"
)

func TestTagsAreWordsOfTheTitleAndOfOurMetadata(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`<domain/>`: "",
		`<domain><title>shop [gold], web</title></domain>`: "gold shop web",
		`<domain><title>gold</title><metadata><holdfast:tags xmlns:holdfast="urn:holdfast">nightly gold</holdfast:tags>
			<other:tags xmlns:other="urn:other">silver</other:tags></metadata></domain>`: "gold nightly",
		`<domain><metadata><tags xmlns="urn:holdfast">x</tags></metadata></domain>`: "x",
		`<domain><title>` + strings.Repeat("y", 65) + `</title></domain>`:           "",
	} {
		root, err := parseXML(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(tagsOf(root), " "); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
