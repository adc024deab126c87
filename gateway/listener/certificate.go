package listener

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/internal/filestate"
)

// certificate is a key pair in files that may be replaced at any time.
//
// The files are looked at when a client connects. That needs no watcher, which would
// miss what happens to a mount or to a symbolic link further up, as Kubernetes
// replaces them.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time

	current atomic.Pointer[tls.Certificate]

	mu      sync.Mutex // held while the files are looked at
	looked  time.Time
	version filestate.State // that was loaded last, or failed to
}

// lookEvery is how often the files are looked at, at most.
const lookEvery = time.Second

func loadCertificate(certFile, keyFile string, log *slog.Logger, now func() time.Time) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, now: now, looked: now()}
	c.version = filestate.Of(certFile, keyFile)
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// get returns the pair that is in the files, or the last good one.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.mu.TryLock() { // one looks, the others do not wait for the disk
		defer c.mu.Unlock()
		c.refresh()
	}
	return c.current.Load(), nil
}

// refresh loads the files if they have changed.
func (c *certificate) refresh() {
	now := c.now()
	if now.Sub(c.looked) < lookEvery {
		return
	}
	c.looked = now
	version := filestate.Of(c.certFile, c.keyFile)
	if version.Same(c.version) {
		return
	}
	c.version = version
	if err := c.load(); err != nil {
		c.log.Error("the changed TLS certificate cannot be used; the old one stays", "error", err)
		return
	}
	c.log.Info("the TLS certificate was loaded anew", "file", c.certFile, "expires", c.current.Load().Leaf.NotAfter)
}

func readKeyPair(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := filestate.Read(certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := filestate.Read(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

func (c *certificate) load() error {
	pair, err := readKeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("TLS certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	if c.now().After(pair.Leaf.NotAfter) {
		c.log.Warn("the TLS certificate has expired", "file", c.certFile, "expired", pair.Leaf.NotAfter)
	}
	c.current.Store(&pair)
	return nil
}
