package restore

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxDefinition bounds the definition of a machine that a point holds, in bytes.
const maxDefinition = 4 << 20

// definition is what a restore looks at in the XML of a domain, see
// https://libvirt.org/formatdomain.html. What it changes there is up to libvirt's package.
type definition struct {
	XMLName xml.Name `xml:"domain"`
	Name    string   `xml:"name"`
	UUID    string   `xml:"uuid"`
	NVRAM   string   `xml:"os>nvram"`
	Disks   []struct {
		Device string `xml:"device,attr"` // empty: disk
		Source struct {
			File   string `xml:"file,attr"`
			Dev    string `xml:"dev,attr"`
			Name   string `xml:"name,attr"`
			Volume string `xml:"volume,attr"`
		} `xml:"source"`
		Target struct {
			Dev string `xml:"dev,attr"`
		} `xml:"target"`
	} `xml:"devices>disk"`
	TPM []struct {
		Backend struct {
			Type    string `xml:"type,attr"`
			Version string `xml:"version,attr"`
		} `xml:"backend"`
	} `xml:"devices>tpm"`
}

// readDefinition reads the XML of a domain, which a vault may hold in any shape.
func readDefinition(text []byte) (*definition, error) {
	if len(text) > maxDefinition {
		return nil, fmt.Errorf("domain.xml has %d bytes, at most %d are read", len(text), maxDefinition)
	}
	if err := checkXML(text); err != nil {
		return nil, fmt.Errorf("domain.xml: %w", err)
	}
	d := new(definition)
	if err := xml.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("domain.xml: %w", err)
	}
	if d.Name == "" || strings.ContainsAny(d.Name, "/\n") {
		return nil, fmt.Errorf("domain.xml: the domain's name is %.64q", d.Name)
	}
	return d, nil
}

// checkXML refuses what is no plain tree of elements: a document type, which could
// define entities, and elements within elements without end.
func checkXML(text []byte) error {
	depth := 0
	for r := xml.NewDecoder(strings.NewReader(string(text))); ; {
		token, err := r.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch token.(type) {
		case xml.Directive:
			return errors.New("it has a document type, which is not read")
		case xml.StartElement:
			if depth++; depth > 64 {
				return errors.New("its elements lie too deep in each other")
			}
		case xml.EndElement:
			depth--
		}
	}
}

// source is where a disk of the definition lies; empty: an empty drive.
func (d *definition) source(disk string) (path, device string, found bool) {
	for _, x := range d.Disks {
		if x.Target.Dev == disk {
			s := x.Source
			return s.File + s.Dev + s.Name + s.Volume, x.Device, true
		}
	}
	return "", "", false
}
