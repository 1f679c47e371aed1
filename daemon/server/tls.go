package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// keyPair is a certificate that is read again when its files change.
type keyPair struct {
	cert, key string
	log       *slog.Logger // nil: the default one

	mu      sync.Mutex
	pair    *tls.Certificate
	stamp   string    // of the files when they were read
	refused string    // stamp of files that could not be used
	looked  time.Time // when the files were last looked at
}

// stampOf tells a state of the files from another.
func (k *keyPair) stampOf() (string, error) {
	s := ""
	for _, path := range []string{k.cert, k.key} {
		info, err := os.Stat(path)
		if err != nil {
			return "", err
		}
		s += fmt.Sprint(info.ModTime().UnixNano(), info.Size(), " ")
	}
	return s, nil
}

// load reads the files; k.mu is held, or nobody knows k yet.
func (k *keyPair) load() error {
	stamp, err := k.stampOf()
	if err != nil {
		return fmt.Errorf("read the certificate: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(k.cert, k.key)
	if err != nil {
		k.refused = stamp
		return fmt.Errorf("read the certificate %s and its key %s: %w", k.cert, k.key, err)
	}
	k.pair, k.stamp = &pair, stamp
	return nil
}

// get returns the certificate for a connection, looking at the files once a second at most.
func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); now.Sub(k.looked) > time.Second {
		k.looked = now
		stamp, err := k.stampOf()
		if err == nil && stamp != k.stamp && stamp != k.refused {
			err = k.load()
			if err != nil {
				log := k.log
				if log == nil {
					log = slog.Default()
				}
				log.Error("the new certificate cannot be used; the one that was there goes on", "error", err)
			}
		}
	}
	return k.pair, nil
}
