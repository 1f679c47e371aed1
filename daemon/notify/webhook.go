package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// newClient returns a client all of whose steps have limits.
func newClient(limit time.Duration) *http.Client {
	return &http.Client{
		Timeout: limit,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: limit,
			DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 3 || r.URL.Scheme == "http" && via[0].URL.Scheme == "https" {
				return errors.New("it leads on to where nothing is sent")
			}
			return nil
		},
	}
}

// post tells a webhook.
func (w *Webhook) post(ctx context.Context, client *http.Client, m Message) error {
	target, err := urlOf(w.URL, w.URLFile)
	if err != nil {
		return err
	}
	body, kind := []byte(m.Title+"\n\n"+m.Text), "text/plain; charset=utf-8"
	switch w.Format {
	case "", "json":
		kind = "application/json"
		body, err = json.Marshal(m)
	case "slack":
		kind = "application/json"
		body, err = json.Marshal(map[string]string{"text": m.Title + "\n" + m.Text})
	case "text":
		body = []byte(m.Text)
	}
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return errors.New("the URL cannot be asked") // which may be a secret
	}
	r.Header.Set("Content-Type", kind)
	if w.Format == "text" {
		r.Header.Set("Title", asciiOnly(m.Title)) // what ntfy shows above the text
	}
	if w.TokenFile != "" {
		token, err := secret(w.TokenFile)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return ask(client, r)
}

// beat tells the heartbeat's URL that all is well.
func (h *Heartbeat) beat(ctx context.Context, client *http.Client) error {
	target, err := urlOf(h.URL, h.URLFile)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return errors.New("the URL cannot be asked")
	}
	return ask(client, r)
}

// ask sends a request. Its error does not name the URL.
func ask(client *http.Client, r *http.Request) error {
	r.Header.Set("User-Agent", "holdfast")
	response, err := client.Do(r)
	if err != nil {
		var with *url.Error
		if errors.As(err, &with) {
			err = with.Err
		}
		return fmt.Errorf("%s does not take it: %w", r.URL.Hostname(), err)
	}
	defer response.Body.Close()
	io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // what it says does not matter
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return fmt.Errorf("%s does not take it: it answers %d %s", r.URL.Hostname(), response.StatusCode, http.StatusText(response.StatusCode))
	}
	return nil
}

func asciiOnly(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
}
