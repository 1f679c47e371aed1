package main

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/holdfast-backup/holdfast/daemon/service"
)

// confirm lets a person type word before something that cannot be undone, or
// yes stand for that in a script.
func (k *console) confirm(yes bool, word, about string) error {
	return k.confirmAs(yes, word, about, "this cannot be undone")
}

// confirmAs is confirm for what why it has to be typed for.
func (k *console) confirmAs(yes bool, word, about, why string) error {
	if yes {
		return nil
	}
	if k.in == nil {
		return usagef("not confirmed: %s: %s", about, why).hinted("--yes confirms it where nobody can be asked")
	}
	k.say("%s: %s.", about, why)
	fmt.Fprintf(k.err, "Type %s to go on: ", printable(word))
	line, err := bufio.NewReader(k.in).ReadString('\n')
	if err != nil && line == "" {
		return fmt.Errorf("nothing was confirmed: %w", err)
	}
	if strings.TrimSpace(line) != word {
		return service.Hinted(fmt.Errorf("%.40q is not %s", strings.TrimSpace(line), word), "nothing was changed")
	}
	return nil
}
