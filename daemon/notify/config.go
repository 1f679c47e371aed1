package notify

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kinds of messages, which a receiver can choose from.
const (
	Failure  = "failure"  // a job failed, was interrupted, or ran too long
	Warning  = "warning"  // a job ended with warnings
	RPO      = "rpo"      // a machine's newest good point is older than allowed, or it has none, or nobody protects it
	Full     = "full"     // a vault is full, or will be soon
	Damage   = "damage"   // damage was found
	Recovery = "recovery" // something of these is over
)

var kinds = []string{Failure, Warning, RPO, Full, Damage, Recovery}

// Config says who is told what. The zero value tells nobody.
type Config struct {
	Name      string    `yaml:"name,omitempty"` // of this host in messages; empty: its host name
	Webhooks  []Webhook `yaml:"webhooks,omitempty"`
	Mail      *Mail     `yaml:"mail,omitempty"`
	Heartbeat Heartbeat `yaml:"heartbeat,omitempty"`
	// Repeat is after how long a trouble that lasts is told again, such as 7d; empty: 7d.
	Repeat string `yaml:"repeat,omitempty"`
}

// Webhook is a URL that messages are posted to.
type Webhook struct {
	URL       string   `yaml:"url,omitempty"`        // without a secret in it
	URLFile   string   `yaml:"url-file,omitempty"`   // whose first line is the URL, where it is a secret itself
	TokenFile string   `yaml:"token-file,omitempty"` // whose first line is sent as a bearer token
	Format    string   `yaml:"format,omitempty"`     // json, slack or text; empty: json
	On        []string `yaml:"on,omitempty"`         // kinds of messages; none: all
}

// Mail is a server that takes e-mails, and for whom.
type Mail struct {
	Server       string   `yaml:"server"` // host and port: 587 or 25 for STARTTLS, 465 for TLS from the start
	From         string   `yaml:"from"`
	To           []string `yaml:"to"`
	User         string   `yaml:"user,omitempty"`
	PasswordFile string   `yaml:"password-file,omitempty"` // whose first line is the password
	TLS          string   `yaml:"tls,omitempty"`           // starttls, tls, or none for a server of this host or network that needs no password; empty: tls at port 465, else starttls
	On           []string `yaml:"on,omitempty"`
}

// Heartbeat is a URL that is asked after each cycle in which nothing was at risk, so that
// whoever serves it notices when that ends.
type Heartbeat struct {
	URL     string `yaml:"url,omitempty"`
	URLFile string `yaml:"url-file,omitempty"`
}

// KeyError is what is wrong with one key of a configuration, such as webhooks.0.url.
type KeyError struct {
	Key []string
	Err error
}

func (e *KeyError) Error() string { return strings.Join(e.Key, ".") + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *KeyError) Unwrap() error { return e.Err }

// IsZero tells whether nobody is told anything.
func (c *Config) IsZero() bool {
	return len(c.Webhooks) == 0 && c.Mail == nil && c.Heartbeat == Heartbeat{}
}

// Secrets are the files that hold what nobody else may read: URLs, tokens, a password.
func (c *Config) Secrets() (files []string) {
	for _, w := range c.Webhooks {
		files = append(files, w.URLFile, w.TokenFile)
	}
	if c.Mail != nil {
		files = append(files, c.Mail.PasswordFile)
	}
	files = append(files, c.Heartbeat.URLFile)
	return slices.DeleteFunc(files, func(f string) bool { return f == "" })
}

// Check returns what is wrong with the configuration, as joined [*KeyError]s. It reads no files.
func (c *Config) Check() error {
	var wrong []error
	bad := func(err error, key ...string) {
		if err != nil {
			wrong = append(wrong, &KeyError{key, err})
		}
	}
	if len(c.Webhooks) > 20 {
		bad(fmt.Errorf("%d of them, at most 20 are told", len(c.Webhooks)), "webhooks")
	}
	for i, w := range c.Webhooks {
		at := []string{"webhooks", strconv.Itoa(i)}
		in := func(err error, key string) { bad(err, append(slices.Clone(at), key)...) }
		checkURL(w.URL, w.URLFile, true, in)
		in(absolute(w.TokenFile), "token-file")
		in(oneOf(w.Format, "", "json", "slack", "text"), "format")
		in(checkKinds(w.On), "on")
	}
	if c.Mail != nil {
		c.Mail.check(func(err error, key string) { bad(err, "mail", key) })
	}
	checkURL(c.Heartbeat.URL, c.Heartbeat.URLFile, false, func(err error, key string) { bad(err, "heartbeat", key) })
	_, err := c.repeat()
	bad(err, "repeat")
	if strings.ContainsAny(c.Name, "\r\n") || len(c.Name) > 100 {
		bad(errors.New("it is a name of at most 100 characters in one line"), "name")
	}
	return errors.Join(wrong...)
}

func (m *Mail) check(bad func(error, string)) {
	host, port, err := net.SplitHostPort(m.Server)
	if n, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || n == 0 || host == "" {
		bad(fmt.Errorf("%.60q: write host and port, for example smtp.example.com:587", m.Server), "server")
	}
	bad(checkAddress(m.From), "from")
	if len(m.To) == 0 || len(m.To) > 50 {
		bad(fmt.Errorf("%d addresses, name 1 to 50", len(m.To)), "to")
	}
	for _, to := range m.To {
		bad(checkAddress(to), "to")
	}
	bad(absolute(m.PasswordFile), "password-file")
	bad(oneOf(m.TLS, "", "starttls", "tls", "none"), "tls")
	switch {
	case (m.User == "") != (m.PasswordFile == ""):
		bad(errors.New("user and password-file belong together"), "user")
	case m.User != "" && m.TLS == "none":
		bad(errors.New("a password would be sent in the clear"), "tls")
	}
	bad(checkKinds(m.On), "on")
}

func checkURL(text, file string, needed bool, bad func(error, string)) {
	switch {
	case text != "" && file != "":
		bad(errors.New("url and url-file exclude each other"), "url")
	case file != "":
		bad(absolute(file), "url-file")
	case text != "":
		u, err := parseURL(text)
		if err == nil && u.User != nil {
			err = errors.New("it holds a password: put it into a file, and name that with url-file")
		}
		bad(err, "url")
	case needed:
		bad(errors.New("name url or url-file"), "url")
	}
}

// parseURL never says the URL in its error: it may be a secret.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("it is no URL that begins with https:// or http://")
	}
	return u, nil
}

func checkAddress(text string) error {
	if _, err := mail.ParseAddress(text); err != nil || strings.ContainsAny(text, "\r\n") {
		return fmt.Errorf("%.60q is no e-mail address", text)
	}
	return nil
}

func checkKinds(on []string) error {
	for _, k := range on {
		if err := oneOf(k, kinds...); err != nil {
			return err
		}
	}
	return nil
}

func oneOf(text string, choices ...string) error {
	if slices.Contains(choices, text) {
		return nil
	}
	choices = slices.DeleteFunc(slices.Clone(choices), func(s string) bool { return s == "" })
	return fmt.Errorf("%.40q: choose %s", text, strings.Join(choices, ", "))
}

func absolute(name string) error {
	if name != "" && !filepath.IsAbs(name) {
		return fmt.Errorf("%.60q: write the whole path, from /", name)
	}
	return nil
}

const usualRepeat = 7 * 24 * time.Hour

// repeat reads Repeat: a number of hours, days or weeks.
func (c *Config) repeat() (time.Duration, error) {
	if c.Repeat == "" {
		return usualRepeat, nil
	}
	units := map[string]time.Duration{"h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}
	last := len(c.Repeat) - 1
	n, err := strconv.ParseUint(c.Repeat[:last], 10, 16)
	long := units[c.Repeat[last:]]
	if d := time.Duration(n) * long; err == nil && long > 0 && d >= time.Hour && d <= 366*24*time.Hour {
		return d, nil
	}
	return 0, fmt.Errorf("%.20q: write, for example, 12h, 7d or 2w", c.Repeat)
}

// maxSecret is how long a file of a secret may be, in bytes.
const maxSecret = 64 << 10

// secret reads the first line of a file. Its error never says what is in it.
func secret(name string) (string, error) {
	st, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() || st.Size() > maxSecret {
		return "", fmt.Errorf("%s: it is no file of at most %d bytes", name, maxSecret)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimSpace(line); line == "" {
		return "", fmt.Errorf("%s: its first line is empty", name)
	}
	return line, nil
}

// urlOf returns a URL that is given, or lies in a file.
func urlOf(text, file string) (string, error) {
	if file == "" {
		return text, nil
	}
	text, err := secret(file)
	if err != nil {
		return "", err
	}
	if _, err := parseURL(text); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return text, nil
}
