package libvirt

import (
	"slices"
	"strings"
)

// TagsURI names the metadata of a domain whose words are tags:
//
//	virsh metadata DOMAIN --uri urn:holdfast --key holdfast --set '<tags>gold nightly</tags>' --config
const TagsURI = "urn:holdfast"

// MaxTags is how many tags of a domain are looked at.
const MaxTags = 64

// tagsOf are the words of a domain's title and of its metadata of TagsURI, sorted.
func tagsOf(domain *element) []string {
	texts := []string{domain.text("title")}
	for _, e := range domain.at("metadata").all("*") {
		for _, a := range e.attrs {
			if a.Value == TagsURI && (a.Name.Space == "xmlns" || a.Name.Local == "xmlns") {
				texts = append(texts, e.own())
			}
		}
	}
	var tags []string
	for _, t := range texts {
		for _, word := range strings.FieldsFunc(t, func(r rune) bool { return strings.ContainsRune(" \t\r\n,;()[]{}", r) }) {
			if len(word) <= 64 {
				tags = append(tags, word)
			}
		}
	}
	slices.Sort(tags)
	tags = slices.Compact(tags)
	return tags[:min(len(tags), MaxTags)]
}
