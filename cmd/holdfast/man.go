package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
)

// manCommand writes the pages of the manual, for packages.
func manCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "man",
		Usage:     "print the manual page of the program, or of a configuration",
		ArgsUsage: "[CONFIG]",
		Hidden:    true,
		Description: `Prints holdfast(1), in the language of man(7), from what all commands say of themselves. With an example
of the configuration, prints holdfast.yaml(5) around it.`,
		UsageText: "holdfast man | man -l -\nholdfast man /usr/share/doc/holdfast/examples/config.yaml | man -l -",
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "[CONFIG]")
			if err != nil {
				return err
			}
			if args[0] == "" {
				programPage(k.out, newApp(k))
				return nil
			}
			example, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("read the example: %w", err)
			}
			configPage(k.out, string(example))
			return nil
		},
	}
}

// page writes a manual page; text that is given to it is shown as it is.
type page struct{ w io.Writer }

func newPage(w io.Writer, name string, section int, about string) page {
	p := page{w}
	fmt.Fprintf(w, ".\\\" made from the program: holdfast man\n.TH %s %d \"\" %s Holdfast\n.nh\n.ad l\n", strings.ToUpper(name), section, macroArg("holdfast "+version))
	p.section("NAME")
	fmt.Fprintf(w, "%s \\- %s\n", literal(name), literal(about))
	return p
}

// literal is a text of one line without meaning to roff.
func literal(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "`", `\(ga`, "'", `\(aq`, "^", `\(ha`, "~", `\(ti`).Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}

// macroArg is an argument of a macro.
func macroArg(s string) string { return `"` + strings.ReplaceAll(literal(s), `"`, `\(dq`) + `"` }

func (p page) section(name string) { fmt.Fprintf(p.w, ".SH %s\n", macroArg(name)) }
func (p page) part(name string)    { fmt.Fprintf(p.w, ".SS %s\n", macroArg(name)) }

// text writes paragraphs, which blank lines part; lines that are indented stay lines.
func (p page) text(s string) {
	for _, paragraph := range strings.Split(strings.TrimSpace(s), "\n\n") {
		fmt.Fprintln(p.w, ".PP")
		as := false
		for _, line := range strings.Split(paragraph, "\n") {
			if indented := strings.HasPrefix(line, " "); indented != as {
				as = indented
				fmt.Fprintln(p.w, map[bool]string{true: ".nf", false: ".fi"}[as])
			}
			fmt.Fprintln(p.w, literal(line))
		}
		if as {
			fmt.Fprintln(p.w, ".fi")
		}
	}
}

// lines writes an example.
func (p page) lines(s string) {
	fmt.Fprintln(p.w, ".PP\n.in +4\n.nf")
	for _, line := range strings.Split(strings.TrimRight(s, "\n"), "\n") {
		if line == "" {
			fmt.Fprintln(p.w, ".sp")
			continue
		}
		fmt.Fprintln(p.w, literal(line))
	}
	fmt.Fprintln(p.w, ".fi\n.in -4")
}

// item writes a term and what it means.
func (p page) item(term, meaning string) {
	fmt.Fprintf(p.w, ".TP\n\\fB%s\\fR\n%s\n", literal(term), literal(strings.Join(strings.Fields(meaning), " ")))
}

func (p page) flags(flags []cli.Flag) {
	for _, f := range flags {
		d, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		placeholder, usage := flagUsage(d.GetUsage())
		var names []string
		for _, n := range f.Names() {
			names = append(names, strings.Repeat("-", min(len(n), 2))+n)
		}
		p.item(strings.TrimSpace(strings.Join(names, ", ")+" "+placeholder), usage)
	}
}
