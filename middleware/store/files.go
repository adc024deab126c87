package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/headgate/headgate/internal/filestate"
	"github.com/redis/go-redis/v9"
)

// files gives each new connection what the files of [Options] say at that moment: the URL, the
// password, certificates. So another password needs no restart; connections that Redis has
// accepted stay. Where a file can't be read, or says nothing that can be used, what it last said
// goes on to hold: a file may be seen while it is being replaced.
type files struct {
	o   Options
	log *slog.Logger

	mu        sync.Mutex
	began     *redis.UniversalOptions // as the connection was opened
	url       *redis.UniversalOptions // of url_file
	password  string                  // of password_file
	tls       *tls.Config             // of the files of tls, for certificates alone
	complaint string                  // the last one in the log
}

// newFiles reads the files for the first time.
func newFiles(o Options, began *redis.UniversalOptions) (*files, error) {
	f := &files{o: o, log: o.Logger, began: began, url: began}
	for _, read := range []func() error{f.readPassword, f.readCertificates} {
		if err := read(); err != nil {
			return nil, fmt.Errorf("redis: %w", err)
		}
	}
	return f, nil
}

// install has go-redis ask f for each connection, where there is anything to ask for.
func (f *files) install(opts *redis.UniversalOptions) {
	if f.o.Username != "" || f.o.PasswordFile != "" || f.o.URLFile != "" {
		opts.CredentialsProviderContext = func(context.Context) (user, password string, err error) {
			user, password = f.credentials()
			return user, password, nil
		}
	}
	if f.o.TLS != (TLS{}) || f.o.URLFile != "" {
		opts.Dialer = f.dial
	}
}

// credentials are the user and the password of the next connection.
func (f *files) credentials() (user, password string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tell(f.readURL(), f.readPassword())
	user, password = f.url.Username, f.url.Password
	if f.o.Username != "" {
		user = f.o.Username
	}
	if f.o.PasswordFile != "" {
		password = f.password
	}
	return user, password
}

// dial connects to addr. A single server's address is that of url_file.
func (f *files) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	f.mu.Lock()
	f.tell(f.readURL(), f.readCertificates())
	url, certificates := f.url, f.tls
	f.mu.Unlock()
	if single(url) {
		if network, addr = "tcp", url.Addrs[0]; strings.HasPrefix(addr, "/") {
			network = "unix"
		}
	}
	dialer := &net.Dialer{Timeout: f.began.DialTimeout, KeepAlive: 5 * time.Minute}
	if url.TLSConfig == nil {
		return dialer.DialContext(ctx, network, addr)
	}
	config := url.TLSConfig.Clone()
	if certificates != nil {
		config.RootCAs, config.Certificates = certificates.RootCAs, certificates.Certificates
	}
	if f.o.TLS.ServerName != "" {
		config.ServerName = f.o.TLS.ServerName
	}
	return (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, network, addr)
}

// single reports whether a URL is that of one server.
func single(o *redis.UniversalOptions) bool { return o.MasterName == "" && !o.IsClusterMode }

// readURL reads url_file. Another kind of Redis, another database, other nodes of a Cluster or
// Sentinels take a restart.
func (f *files) readURL() error {
	if f.o.URLFile == "" {
		return nil
	}
	text, err := readLine(f.o.URLFile)
	if err != nil {
		return fmt.Errorf("url_file: %w", err)
	}
	url, err := parseURL(text)
	if err != nil {
		return fmt.Errorf("url_file: %w", err)
	}
	b := f.began
	if url.DB != b.DB || url.MasterName != b.MasterName || url.IsClusterMode != b.IsClusterMode || (url.TLSConfig == nil) != (b.TLSConfig == nil) ||
		!single(b) && strings.Join(url.Addrs, ",") != strings.Join(b.Addrs, ",") {
		return errors.New("url_file: it names another kind of Redis, database or list of nodes; restart the gateway")
	}
	f.url = url
	return nil
}

func (f *files) readPassword() error {
	if f.o.PasswordFile == "" {
		return nil
	}
	password, err := readLine(f.o.PasswordFile)
	if err != nil {
		return fmt.Errorf("password_file: %w", err)
	}
	if password == "" {
		return fmt.Errorf("password_file: %s is empty", f.o.PasswordFile)
	}
	f.password = password
	return nil
}

func (f *files) readCertificates() error {
	config, err := f.o.TLS.load()
	if err == nil {
		f.tls = config
	}
	return err
}

// tell logs what is wrong with the files, once.
func (f *files) tell(errs ...error) {
	err := errors.Join(errs...)
	if err == nil {
		f.complaint = ""
		return
	}
	if f.complaint != err.Error() {
		f.complaint = err.Error()
		f.log.Warn("a file of redis can't be used; what it last said goes on to hold", "error", err)
	}
}

func readLine(name string) (string, error) {
	text, err := filestate.Read(name)
	return strings.TrimRight(string(text), "\r\n"), err
}

// load reads the certificates; nil: the files name none.
func (t TLS) load() (*tls.Config, error) {
	if t.CAFile == "" && t.CertFile == "" {
		return nil, nil
	}
	config := new(tls.Config)
	if t.CAFile != "" {
		text, err := filestate.Read(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("tls.ca_file: %s holds no certificate", t.CAFile)
		}
	}
	if t.CertFile != "" {
		cert, err := filestate.Read(t.CertFile)
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file: %w", err)
		}
		key, err := filestate.Read(t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls.key_file: %w", err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("tls: %s and %s are no pair: %w", t.CertFile, t.KeyFile, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
