package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// h2specPackage is a suite for HTTP/2 servers, the last release that the Go module proxy has.
const h2specPackage = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"

// errNotHad says that h2spec can't be installed here.
var errNotHad = errors.New("h2spec can't be had here")

// runH2spec runs h2spec, with its strict cases, against a Headgate of this tree before an app server, over TLS and
// without. It fails if fewer than floor cases pass; without TLS it is one fewer, since what is no preface of HTTP/2
// there is a request of HTTP/1, which gets a 400.
func runH2spec(ctx context.Context, floor int, out io.Writer) error {
	if err := needs("go"); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "h2spec")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l := &lab{ctx: ctx, dir: dir}
	defer l.stop()

	install := exec.CommandContext(ctx, "go", "install", h2specPackage)
	install.Dir, install.Env = dir, append(os.Environ(), "GOBIN="+dir)
	if text, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: go install %s: %w: %s", errNotHad, h2specPackage, err, lastLines(text))
	}
	plain, secure, err := l.http2Gateway()
	if err != nil {
		return err
	}
	return errors.Join(
		l.h2spec(out, floor, "over TLS", secure, "-t", "-k"),
		l.h2spec(out, floor-1, "without TLS", plain),
	)
}

var h2specCounts = regexp.MustCompile(`(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed`)

// h2spec runs the suite once, and prints its counts and the cases that failed.
func (l *lab) h2spec(out io.Writer, floor int, how, addr string, args ...string) error {
	host, port, _ := net.SplitHostPort(addr)
	args = append([]string{"-S", "-h", host, "-p", port}, args...)
	text, err := exec.CommandContext(l.ctx, filepath.Join(l.dir, "h2spec"), args...).CombinedOutput()
	counts := h2specCounts.FindStringSubmatch(string(text))
	if counts == nil {
		return fmt.Errorf("h2spec %s: %w: %s", how, err, lastLines(text))
	}
	cases, _, _ := strings.Cut(string(text), "\nFailures:")
	for line := range strings.Lines(cases) {
		if _, failed, is := strings.Cut(line, "×"); is {
			fmt.Fprint(out, "failed:", failed)
		}
	}
	fmt.Fprintf(out, "h2spec %s: %s\n", how, counts[0])
	if passed, _ := strconv.Atoi(counts[2]); passed < floor {
		return fmt.Errorf("h2spec %s: %d cases passed, %d should", how, passed, floor)
	}
	return nil
}

// http2Policy has a gateway speak HTTP/2, without TLS or with it.
const http2Policy = `
version: 1
server: {listen: %q, admin: {listen: off}, access_log: off, %s}
upstreams: {app: {servers: [%q]}}
routes: [{name: all, path: /*, upstream: app}]
`

// http2Gateway starts an app server, and two gateways before it.
func (l *lab) http2Gateway() (plain, secure string, err error) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "hello")
	}))
	context.AfterFunc(l.ctx, app.Close)
	binary, err := l.build()
	if err != nil {
		return "", "", err
	}
	cert, key, err := selfSigned()
	if err != nil {
		return "", "", err
	}
	plain, secure = free(), free()
	for addr, protocol := range map[string]string{
		plain:  "protocols: [http1, h2c]",
		secure: fmt.Sprintf("tls: {cert_file: %q, key_file: %q}", l.write("cert.pem", cert), l.write("key.pem", key)),
	} {
		_, port, _ := net.SplitHostPort(addr)
		policy := l.write(port+".yaml", fmt.Sprintf(http2Policy, addr, protocol, app.URL))
		if err := l.start(addr, exec.CommandContext(l.ctx, binary, "serve", "-p", policy)); err != nil {
			return "", "", err
		}
	}
	return plain, secure, nil
}

// selfSigned returns a certificate and its key.
func selfSigned() (cert, key string, err error) {
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &secret.PublicKey, secret)
	if err != nil {
		return "", "", err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		return "", "", err
	}
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", keyDER), nil
}
