package policies

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/headgate/headgate/internal/filestate"
	"github.com/headgate/headgate/middleware/problem"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/middleware/store"
)

const mendFile = "check its name and permissions; a relative path starts at the policy file"

// files checks the files that the policy names, as the gateway is going to use them.
// Secrets are read anyway, as they are part of the policy.
func (c *checker) files() {
	if t := c.p.Server.TLS; t != nil && t.CertFile != "" && t.KeyFile != "" {
		c.keyPair("server.tls", t.CertFile, t.KeyFile)
	}
	c.logFile("server.access_log", c.p.Server.AccessLog.Path)
	c.spoolDir("server.spool_dir", c.p.Server.SpoolDir)
	for _, name := range sortedKeys(c.p.Upstreams) {
		t, path := c.p.Upstreams[name].TLS, problem.Key("upstreams", name, "tls")
		c.authority(problem.Key(path, "ca_file"), t.CAFile)
		if t.CertFile != "" && t.KeyFile != "" {
			c.keyPair(path, t.CertFile, t.KeyFile)
		}
	}
	c.redisFiles("redis", c.p.Redis.Access)
	c.redisFiles("redis.sessions", c.p.Redis.Sessions.Access)
	c.redisFiles("redis.cache", c.p.Redis.Cache.Access)
	c.redisFiles("redis.jobs", c.p.Redis.Jobs.Access)
	if a := c.p.Session.Assertion; a.KeyFile != "" {
		const path = "session.assertion.key_file"
		if text, ok := c.read(path, a.KeyFile); ok {
			if _, err := session.NewSigner(session.SignerOptions{PEM: text}); err != nil {
				c.bad(path, "make one with: openssl genpkey -algorithm ed25519", "%s can't sign: %v", quote(a.KeyFile), err)
			}
		}
	}
}

// redisFiles checks how the gateway is known to a Redis, and that Redis to it.
func (c *checker) redisFiles(path string, a store.Access) {
	if a.PasswordFile != "" {
		at := problem.Key(path, "password_file")
		if text, ok := c.read(at, a.PasswordFile); ok && strings.TrimRight(string(text), "\r\n") == "" {
			c.bad(at, "write the password into it", "the file %s is empty", quote(a.PasswordFile))
		}
	}
	path = problem.Key(path, "tls")
	c.authority(problem.Key(path, "ca_file"), a.TLS.CAFile)
	if a.TLS.CertFile != "" && a.TLS.KeyFile != "" {
		c.keyPair(path, a.TLS.CertFile, a.TLS.KeyFile)
	}
}

// authority checks the certificates that are trusted instead of the system's, where a file has them.
func (c *checker) authority(path, file string) {
	if file == "" {
		return
	}
	if text, ok := c.read(path, file); ok && !x509.NewCertPool().AppendCertsFromPEM(text) {
		c.bad(path, "name a file of certificates in PEM form", "%s holds no certificate", quote(file))
	}
}

// keyPair checks the certificate that clients are going to see, or app servers, or a Redis.
func (c *checker) keyPair(path, certFile, keyFile string) {
	cert, certRead := c.read(problem.Key(path, "cert_file"), certFile)
	key, keyRead := c.read(problem.Key(path, "key_file"), keyFile)
	if !certRead || !keyRead {
		return
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		c.bad(problem.Key(path, "cert_file"), "name a certificate and its own private key, both in PEM form",
			"%s and %s are no pair: %v", quote(certFile), quote(keyFile), err)
	}
}

// logFile checks that an access log can be written: the file where there is one, else its folder.
func (c *checker) logFile(path, name string) {
	switch name {
	case "", AccessLogStdout, AccessLogStderr, AccessLogOff:
		return
	}
	switch info, err := os.Stat(name); {
	case err == nil && info.IsDir():
		c.bad(path, "name a file in it", "%s is a folder", quote(name))
	case err == nil:
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			c.bad(path, mendFile, "can't write the access log: %v", err)
			return
		}
		_ = f.Close() // nothing was written
	default:
		folder := filepath.Dir(name)
		if info, err := os.Stat(folder); err != nil {
			c.bad(path, "make the folder, or name another", "can't write the access log: %v", err)
		} else if !info.IsDir() {
			c.bad(path, "make the folder, or name another", "%s is no folder", quote(folder))
		}
	}
}

// spoolDir warns of a folder in which no file can be made. The gateway runs all the same: bodies that do not fit into memory stream.
func (c *checker) spoolDir(path, folder string) {
	if folder == "" {
		return
	}
	f, err := os.CreateTemp(folder, "headgate-check-*")
	if err != nil {
		var why *fs.PathError // names the file, by a random number
		if errors.As(err, &why) {
			err = why.Err
		}
		c.warn(path, "make the folder, or name another; as it is, slow clients hold app servers' connections while bodies do not fit into memory",
			"can't make a file in %s: %v", quote(folder), err)
		return
	}
	_ = f.Close()
	_ = os.Remove(f.Name())
}

// read reads a file, and reports one that can't be read.
func (c *checker) read(path, name string) (text []byte, ok bool) {
	text, err := filestate.Read(name)
	if err != nil {
		c.bad(path, mendFile, "can't read the file: %v", err)
		return nil, false
	}
	return text, true
}
