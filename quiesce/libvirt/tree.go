package libvirt

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// element is an XML element. It keeps all that was between its tags, known or not,
// and prefixes as they were written: what is read and written again says the same.
// Methods that only look may be called on nil, which is empty.
type element struct {
	name  string // with its prefix, as in qemu:arg
	attrs []xml.Attr
	nodes []any // *element, xml.CharData, xml.Comment, xml.ProcInst, xml.Directive
}

const (
	maxXML   = 8 << 20 // bytes
	maxDepth = 256
)

// parseXML reads a document's only element.
func parseXML(text string) (*element, error) {
	if len(text) > maxXML {
		return nil, fmt.Errorf("XML of %d MiB is too long", len(text)>>20)
	}
	dec := xml.NewDecoder(strings.NewReader(text))
	dec.CharsetReader = func(charset string, in io.Reader) (io.Reader, error) {
		if strings.EqualFold(charset, "utf-8") {
			return in, nil
		}
		return nil, fmt.Errorf("character set %q", charset)
	}
	var root *element
	var open []*element
	for {
		token, err := dec.RawToken()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("not well-formed: %w", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			e := &element{name: fullName(t.Name), attrs: t.Copy().Attr}
			switch {
			case len(open) == maxDepth:
				return nil, errors.New("XML is nested too deeply")
			case len(open) > 0:
				open[len(open)-1].nodes = append(open[len(open)-1].nodes, e)
			case root != nil:
				return nil, errors.New("XML with two roots")
			default:
				root = e
			}
			open = append(open, e)
		case xml.EndElement:
			if len(open) == 0 || open[len(open)-1].name != fullName(t.Name) {
				return nil, fmt.Errorf("not well-formed: unexpected </%s>", fullName(t.Name))
			}
			open = open[:len(open)-1]
		default:
			if len(open) > 0 {
				open[len(open)-1].nodes = append(open[len(open)-1].nodes, xml.CopyToken(token))
			}
		}
	}
	if root == nil || len(open) > 0 {
		return nil, errors.New("XML ends too early")
	}
	return root, nil
}

func fullName(n xml.Name) string {
	if n.Space != "" {
		return n.Space + ":" + n.Local
	}
	return n.Local
}

// String writes the element as a document without a declaration.
func (e *element) String() string {
	var b strings.Builder
	e.write(&b)
	b.WriteByte('\n')
	return b.String()
}

var (
	inText      = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#13;")
	inAttribute = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&apos;", "\n", "&#10;", "\r", "&#13;", "\t", "&#9;")
)

func (e *element) write(b *strings.Builder) {
	b.WriteString("<" + e.name)
	for _, a := range e.attrs {
		b.WriteString(" " + fullName(a.Name) + "='" + inAttribute.Replace(a.Value) + "'")
	}
	if len(e.nodes) == 0 {
		b.WriteString("/>")
		return
	}
	b.WriteByte('>')
	for _, n := range e.nodes {
		switch n := n.(type) {
		case *element:
			n.write(b)
		case xml.CharData:
			b.WriteString(inText.Replace(string(n)))
		case xml.Comment:
			b.WriteString("<!--" + string(n) + "-->")
		case xml.ProcInst:
			b.WriteString("<?" + n.Target + " " + string(n.Inst) + "?>")
		case xml.Directive:
			b.WriteString("<!" + string(n) + ">")
		}
	}
	b.WriteString("</" + e.name + ">")
}

// child is the first child of that name, or nil.
func (e *element) child(name string) *element {
	if all := e.all(name); len(all) > 0 {
		return all[0]
	}
	return nil
}

// at follows a path of names, each the first child: "os/nvram".
func (e *element) at(path string) *element {
	for _, name := range strings.Split(path, "/") {
		e = e.child(name)
	}
	return e
}

// all are the children of that name; with "*", every one.
func (e *element) all(name string) (found []*element) {
	if e == nil {
		return nil
	}
	for _, n := range e.nodes {
		if c, ok := n.(*element); ok && (name == "*" || c.name == name) {
			found = append(found, c)
		}
	}
	return found
}

// attr is an attribute's value; empty where there is none.
func (e *element) attr(name string) string {
	if e == nil {
		return ""
	}
	for _, a := range e.attrs {
		if fullName(a.Name) == name {
			return a.Value
		}
	}
	return ""
}

// text is what stands between a child's tags, by path.
func (e *element) text(path string) string { return e.at(path).own() }

// own is what stands between e's tags, without children.
func (e *element) own() string {
	if e == nil {
		return ""
	}
	var b strings.Builder
	for _, n := range e.nodes {
		if c, ok := n.(xml.CharData); ok {
			b.Write(c)
		}
	}
	return b.String()
}

// set changes an attribute or adds it.
func (e *element) set(name, value string) {
	for i, a := range e.attrs {
		if fullName(a.Name) == name {
			e.attrs[i].Value = value
			return
		}
	}
	e.attrs = append(e.attrs, xml.Attr{Name: xml.Name{Local: name}, Value: value})
}

// unset removes an attribute.
func (e *element) unset(name string) {
	for i, a := range e.attrs {
		if fullName(a.Name) == name {
			e.attrs = append(e.attrs[:i], e.attrs[i+1:]...)
			return
		}
	}
}

// setText replaces all that is between e's tags.
func (e *element) setText(text string) { e.nodes = []any{xml.CharData(text)} }

// add appends a child and returns it. attrs are names and values in turn.
func (e *element) add(name string, attrs ...string) *element {
	c := &element{name: name}
	for i := 0; i+1 < len(attrs); i += 2 {
		c.set(attrs[i], attrs[i+1])
	}
	e.nodes = append(e.nodes, c)
	return c
}

// remove takes a child out, with the white space before it.
func (e *element) remove(c *element) {
	for i, n := range e.nodes {
		if n != any(c) {
			continue
		}
		from := i
		if i > 0 {
			if blank, ok := e.nodes[i-1].(xml.CharData); ok && strings.TrimSpace(string(blank)) == "" {
				from--
			}
		}
		e.nodes = append(e.nodes[:from:from], e.nodes[i+1:]...)
		return
	}
}

// need is the first child of that name, made where there is none.
func (e *element) need(name string) *element {
	if c := e.child(name); c != nil {
		return c
	}
	return e.add(name)
}
