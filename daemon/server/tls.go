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
	missing bool      // they could not be looked at then
	warned  time.Time // when it was last said that the certificate ends
}

// A certificate that ends within expiresSoon is told of in the log, once in sayAgain.
const (
	expiresSoon = 14 * 24 * time.Hour
	sayAgain    = 24 * time.Hour
)

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
	k.pair, k.stamp, k.warned = &pair, stamp, time.Time{}
	return nil
}

// get returns the certificate for a connection, looking at the files once a second at most.
func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); now.Sub(k.looked) > time.Second {
		k.looked = now
		k.renew()
		k.expiry(now)
	}
	return k.pair, nil
}

// renew takes what the files hold when they changed; k.mu is held.
func (k *keyPair) renew() {
	stamp, err := k.stampOf()
	said := err != nil && k.missing
	k.missing = err != nil
	if err == nil && stamp != k.stamp && stamp != k.refused {
		err = k.load()
	}
	if err != nil && !said {
		k.logger().Error("the new certificate cannot be used; the one that was there goes on", "error", err)
	}
}

// expiry says that the certificate ends soon, or has ended: clients refuse it then, and none of them tells this
// daemon. k.mu is held, or nobody knows k yet.
func (k *keyPair) expiry(now time.Time) {
	end := k.pair.Leaf.NotAfter
	if end.Sub(now) > expiresSoon || now.Sub(k.warned) < sayAgain && !k.warned.IsZero() {
		return
	}
	k.warned = now
	if now.After(end) {
		k.logger().Error("the certificate has expired, and clients refuse it", "certificate", k.cert, "expired", end.UTC())
		return
	}
	k.logger().Warn("the certificate expires soon", "certificate", k.cert, "expires", end.UTC())
}

func (k *keyPair) logger() *slog.Logger {
	if k.log == nil {
		return slog.Default()
	}
	return k.log
}
