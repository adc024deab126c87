package proxy_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/headgate/headgate/middleware/proxy"
)

// h2cServer starts a server that speaks HTTP/1.1 and HTTP/2 without TLS.
func h2cServer(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// tlsServer starts a server with a certificate, whose file it returns, and
// both versions of HTTP.
func tlsServer(t testing.TB, clients *x509.CertPool) (s *httptest.Server, caFile string) {
	t.Helper()
	s = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Proto, r.TLS.ServerName)
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	if clients != nil {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	writePEM(t, caFile, "CERTIFICATE", s.Certificate().Raw)
	return s, caFile
}

func writePEM(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestUpstreamProtocols(t *testing.T) {
	t.Parallel()
	secure, ca := tlsServer(t, nil)
	plain := h2cServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto, " ") }))
	trust := proxy.TLS{CAFile: ca, ServerName: "example.com"}
	for _, tc := range []struct {
		name string
		cfg  proxy.Config
		want string
	}{
		{"http:// is HTTP/1.1", proxy.Config{Servers: servers(plain.URL)}, "HTTP/1.1 "},
		{"h2c", proxy.Config{Servers: servers(plain.URL), Protocol: proxy.H2C}, "HTTP/2.0 "},
		{"https:// negotiates", proxy.Config{Servers: servers(secure.URL), TLS: trust}, "HTTP/2.0 example.com"},
		{"http1", proxy.Config{Servers: servers(secure.URL), TLS: trust, Protocol: proxy.HTTP1}, "HTTP/1.1 example.com"},
		{"http2", proxy.Config{Servers: servers(secure.URL), TLS: trust, Protocol: proxy.HTTP2}, "HTTP/2.0 example.com"},
		{"the URL's host", proxy.Config{Servers: servers(secure.URL), TLS: proxy.TLS{CAFile: ca}}, "HTTP/2.0 "},
		{"unverified", proxy.Config{Servers: servers(secure.URL), TLS: proxy.TLS{InsecureSkipVerify: true}}, "HTTP/2.0 "},
		{"another name", proxy.Config{Servers: servers(secure.URL), TLS: proxy.TLS{CAFile: ca, ServerName: "other.test"}}, "502"},
		{"unknown to the system", proxy.Config{Servers: servers(secure.URL)}, "502"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := get(t, gateway(t, tc.cfg, proxy.RouteOptions{}).URL)
			if got.body != tc.want && fmt.Sprint(got.status) != tc.want {
				t.Errorf("got %d %q", got.status, got.body)
			}
		})
	}
}

func TestHeaderThatTheServerWouldNotTakeIsTheClientsFault(t *testing.T) {
	t.Parallel()
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	app.Config.Protocols = new(http.Protocols)
	app.Config.Protocols.SetUnencryptedHTTP2(true)
	app.Config.MaxHeaderBytes = 4096
	app.Start()
	t.Cleanup(app.Close)
	u := newUpstream(t, proxy.Config{Servers: servers(app.URL), Protocol: proxy.H2C}, proxy.Options{})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	get(t, gw.URL) // has the server say how much it takes
	req, _ := http.NewRequest("GET", gw.URL, nil)
	req.Header.Set("X-Long", strings.Repeat("x", 100_000))
	if got := do(t, req); got.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("got %d", got.status)
	}
	if s := u.Status()[0]; s.Failures != 0 {
		t.Errorf("%+v", s)
	}
}

func TestClientCertificateAndItsRenewal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	issue := func() *x509.Certificate {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "gateway"},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		writePEM(t, certFile, "CERTIFICATE", der)
		keyDER, _ := x509.MarshalPKCS8PrivateKey(key)
		writePEM(t, keyFile, "PRIVATE KEY", keyDER)
		cert, _ := x509.ParseCertificate(der)
		return cert
	}
	pool := x509.NewCertPool()
	pool.AddCert(issue())
	app, ca := tlsServer(t, pool)

	cfg := proxy.Config{Servers: servers(app.URL), TLS: proxy.TLS{CAFile: ca, CertFile: certFile, KeyFile: keyFile}}
	u := newUpstream(t, cfg, proxy.Options{})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	if got := get(t, gw.URL); got.status != 200 {
		t.Errorf("got %d", got.status)
	}
	issue() // the files change; the configuration that names them does not
	if err := u.Update(cfg); err != nil {
		t.Fatal(err)
	}
	if got := get(t, gw.URL); got.status != 502 {
		t.Errorf("the old certificate is still in use: %d", got.status)
	}
	if err := os.WriteFile(certFile, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := u.Update(cfg); err == nil || !strings.Contains(err.Error(), certFile) {
		t.Errorf("got %v", err)
	}
}

func TestWebSocketOverTLSThatWouldNegotiateHTTP2(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			w.WriteHeader(http.StatusHTTPVersionNotSupported)
			return
		}
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		w.WriteHeader(http.StatusSwitchingProtocols)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	gw := gateway(t, proxy.Config{Servers: servers(s.URL), TLS: proxy.TLS{InsecureSkipVerify: true}}, proxy.RouteOptions{})
	get(t, gw.URL) // leaves an HTTP/2 connection
	res := raw(t, gw, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("got %d", res.StatusCode)
	}
}

// rpc is the test service of grpc-go itself.
type rpc struct {
	grpc_testing.UnimplementedTestServiceServer
}

func (rpc) UnaryCall(ctx context.Context, in *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	if in.ResponseSize < 0 {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("x-why", "negative"))
		return nil, status.Error(codes.InvalidArgument, "négative") // percent-encoded in a trailer
	}
	_ = grpc.SendHeader(ctx, metadata.Pairs("x-head", "1"))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("x-tail", "2"))
	return &grpc_testing.SimpleResponse{Payload: &grpc_testing.Payload{Body: make([]byte, in.ResponseSize)}}, nil
}

func (rpc) FullDuplexCall(s grpc_testing.TestService_FullDuplexCallServer) error {
	for {
		in, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.Send(&grpc_testing.StreamingOutputCallResponse{Payload: in.Payload}); err != nil {
			return err
		}
	}
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	app := grpc.NewServer()
	grpc_testing.RegisterTestServiceServer(app, rpc{})
	go func() { _ = app.Serve(l) }()
	t.Cleanup(app.Stop)
	u := newUpstream(t, proxy.Config{Servers: servers("http://" + l.Addr().String()), Protocol: proxy.H2C, Timeout: 300 * time.Millisecond}, proxy.Options{})
	gw := h2cServer(t, u.Handler(proxy.RouteOptions{}))
	conn, err := grpc.NewClient(gw.Listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	client := grpc_testing.NewTestServiceClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	var head, tail metadata.MD
	res, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{ResponseSize: 100_000}, grpc.Header(&head), grpc.Trailer(&tail))
	if err != nil || len(res.GetPayload().GetBody()) != 100_000 {
		t.Fatalf("unary: %v", err)
	}
	if head.Get("x-head") == nil || tail.Get("x-tail") == nil {
		t.Errorf("metadata: %v, %v", head, tail)
	}
	_, err = client.UnaryCall(ctx, &grpc_testing.SimpleRequest{ResponseSize: -1}, grpc.Trailer(&tail))
	if s := status.Convert(err); s.Code() != codes.InvalidArgument || s.Message() != "négative" || tail.Get("x-why") == nil {
		t.Errorf("an error without a body: %v, %v", err, tail)
	}

	stream, err := client.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 { // each answer comes before the next question
		msg := fmt.Append(nil, "message ", i)
		if err := stream.Send(&grpc_testing.StreamingOutputCallRequest{Payload: &grpc_testing.Payload{Body: msg}}); err != nil {
			t.Fatal(err)
		}
		got, err := stream.Recv()
		if err != nil || string(got.GetPayload().GetBody()) != string(msg) {
			t.Fatalf("%d: %v, %v", i, got, err)
		}
		if i == 10 {
			time.Sleep(400 * time.Millisecond) // a quiet stream is no timeout
		}
	}
	_ = stream.CloseSend()
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v", err)
	}
	eventually(t, "the places are given back", func() bool { return u.Status()[0].Active == 0 })
}

// Both directions of one HTTP/1.1 exchange at once: net/http cuts the request
// off when the response begins, unless it is asked not to.
func TestFullDuplexOverHTTP1(t *testing.T) {
	t.Parallel()
	app := origin(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		br := bufio.NewReader(r.Body)
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = io.WriteString(w, strings.ToUpper(line))
			w.(http.Flusher).Flush()
		}
	})
	gw := gateway(t, proxy.Config{Servers: servers(app.URL)}, proxy.RouteOptions{Unbuffered: true})
	pr, pw := io.Pipe()
	req, _ := http.NewRequest("POST", gw.URL, pr)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	br := bufio.NewReader(res.Body)
	for i := range 10 {
		fmt.Fprintf(pw, "line %d\n", i)
		if got, err := br.ReadString('\n'); got != fmt.Sprintf("LINE %d\n", i) {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	pw.Close()
	if rest, err := io.ReadAll(br); len(rest) != 0 || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
}

// TestHTTP2ConnectionEndsWithTheLastRequestOfAClosedUpstream: not once it has been idle for an hour.
func TestHTTP2ConnectionEndsWithTheLastRequestOfAClosedUpstream(t *testing.T) {
	t.Parallel()
	arrived, letGo, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-letGo
		fmt.Fprint(w, "ok")
	}))
	app.Config.Protocols = new(http.Protocols)
	app.Config.Protocols.SetUnencryptedHTTP2(true)
	app.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			close(ended)
		}
	}
	app.Start()
	defer app.Close()
	u := newUpstream(t, proxy.Config{Servers: servers(app.URL), Protocol: proxy.H2C, IdleTimeout: time.Hour}, proxy.Options{})
	gw := front(t, u.Handler(proxy.RouteOptions{}))
	got := make(chan answer)
	go func() { got <- get(t, gw.URL) }()
	<-arrived
	u.Close()
	close(letGo)
	if a := <-got; a.status != 200 || a.body != "ok" {
		t.Errorf("got %d %q, %v", a.status, a.body, a.err)
	}
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("the connection is still there")
	}
}
