package clientip_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headgate/headgate/middleware/clientip"
)

const (
	xff       = "X-Forwarded-For"
	forwarded = "Forwarded"

	// The proxies are in 10.0.0.0/8 and 2001:db8:ff::/48, the clients elsewhere.
	proxy  = "10.0.0.1:4000"
	client = "192.0.2.7"
)

func behindProxies(t testing.TB, header string) *clientip.Resolver {
	t.Helper()
	return newResolver(t, clientip.Options{
		Header:         header,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:ff::/48")},
	})
}

func newResolver(t testing.TB, o clientip.Options) *clientip.Resolver {
	t.Helper()
	res, err := clientip.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// request comes from peer, with the lines of one header.
func request(peer, header string, lines ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = peer
	for _, line := range lines {
		r.Header.Add(header, line)
	}
	return r
}

func TestPeerIsTheClientWhereNobodyIsTrusted(t *testing.T) {
	t.Parallel()
	res := newResolver(t, clientip.Options{})
	for _, c := range []struct{ name, peer, want string }{
		{"IPv4", "192.0.2.7:1234", "192.0.2.7"},
		{"IPv6", "[2001:db8::7]:1234", "2001:db8::7"},
		{"IPv6 with a zone", "[fe80::7%eth0]:1234", "fe80::7"},
		{"IPv4-mapped", "[::ffff:192.0.2.7]:1234", "192.0.2.7"},
		{"without a port", "192.0.2.7", "192.0.2.7"},
		{"IPv6 without a port", "2001:db8::7", "2001:db8::7"},
		{"loopback is nobody special", "127.0.0.1:1234", "127.0.0.1"},
		{"private is nobody special", "10.0.0.1:1234", "10.0.0.1"},
		{"nothing", "", "invalid IP"},
		{"garbage", "pipe", "invalid IP"},
		{"a Unix socket's @, but no word that it is one", "@", "invalid IP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := request(c.peer, xff, "203.0.113.66")
			for _, h := range otherHeaders {
				r.Header.Set(h, "203.0.113.66")
			}
			if got := res.Resolve(r).String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// Headers in which proxies of one kind or another name the client. None is ours to
// read.
var otherHeaders = []string{
	"X-Real-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Fastly-Client-Ip", "X-Client-Ip", "X-Cluster-Client-Ip",
	"X-Original-Forwarded-For", "X-Envoy-External-Address", "X-Forwarded", "Forwarded-For", "Client-Ip", "X_forwarded_for", "Via",
}

func TestXForwardedFor(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		name  string
		peer  string
		lines []string
		want  string
	}{
		{"one proxy", proxy, []string{client}, client},
		{"the peer is no proxy", "192.0.2.9:1", []string{client}, "192.0.2.9"},
		{"the proxy says nothing", proxy, nil, "10.0.0.1"},
		{"the proxy says nothing in a line", proxy, []string{""}, "10.0.0.1"},
		{"three proxies", proxy, []string{client + ", 10.0.0.3, 10.0.0.2"}, client},
		{"three proxies, a line each", proxy, []string{client, "10.0.0.3", "10.0.0.2"}, client},
		{"three proxies, lines mixed", proxy, []string{client + ",10.0.0.3", "10.0.0.2"}, client},
		{"an IPv6 proxy", "[2001:db8:ff::1]:1", []string{client}, client},
		{"an IPv4-mapped proxy", "[::ffff:10.0.0.1]:1", []string{client + ", ::ffff:10.0.0.2"}, client},
		{"from inside the trusted network", proxy, []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},

		{"a spoofed address", proxy, []string{"203.0.113.66, " + client}, client},
		{"a spoofed address in a line of its own", proxy, []string{"203.0.113.66", client}, client},
		{"a spoofed proxy", proxy, []string{"203.0.113.66, 10.0.0.9, " + client + ", 10.0.0.2"}, client},
		{"a spoofed loopback", proxy, []string{"127.0.0.1, " + client}, client},
		{"spoofed garbage", proxy, []string{`"'<>%00, ` + client}, client},
		{"a spoofed open quote", proxy, []string{`"203.0.113.66, ` + client}, client},
		{"spoofed commas", proxy, []string{strings.Repeat(",", 5000) + client}, client},
		{"a client between proxies is the end", proxy, []string{"203.0.113.66, 10.0.0.3, " + client + ", 10.0.0.2"}, client},

		{"a port", proxy, []string{client + ":5678"}, client},
		{"IPv6", proxy, []string{"2001:db8::7"}, "2001:db8::7"},
		{"IPv6 in brackets", proxy, []string{"[2001:db8::7]"}, "2001:db8::7"},
		{"IPv6 with a port", proxy, []string{"[2001:db8::7]:5678"}, "2001:db8::7"},
		{"IPv6 in capitals", proxy, []string{"2001:DB8::00A7"}, "2001:db8::a7"},
		{"IPv6 with a zone", proxy, []string{"fe80::7%eth0"}, "fe80::7"},
		{"IPv6 with a zone and a port", proxy, []string{"[fe80::7%25eth0]:5678"}, "fe80::7"},
		{"IPv4-mapped", proxy, []string{"::ffff:192.0.2.7"}, client},
		{"IPv4-mapped in hex", proxy, []string{"::ffff:c000:207"}, client},
		{"IPv4-mapped with a port", proxy, []string{"[::ffff:192.0.2.7]:5678"}, client},
		{"IPv4-mapped with a zone", proxy, []string{"::ffff:192.0.2.7%eth0"}, client},
		{"spaces and tabs", proxy, []string{" \t 203.0.113.66 ,\t" + client + " \t"}, client},
		{"empty elements", proxy, []string{", " + client + " , ,, 10.0.0.2, ,"}, client},
		{"empty lines", proxy, []string{client, "", "10.0.0.2", " ", ","}, client},

		{"garbage ends the walk at the proxy that wrote it", proxy, []string{client + ", garbage"}, "10.0.0.1"},
		{"garbage from the second proxy", proxy, []string{client + ", garbage, 10.0.0.2"}, "10.0.0.2"},
		{"unknown", proxy, []string{client + ", unknown"}, "10.0.0.1"},
		{"hidden", proxy, []string{client + ", _hidden"}, "10.0.0.1"},
		{"two addresses in one element", proxy, []string{client + " 192.0.2.8"}, "10.0.0.1"},
		{"a quoted address", proxy, []string{`"` + client + `"`}, "10.0.0.1"},
		{"no address in IPv6", proxy, []string{"::"}, "10.0.0.1"},
		{"no address in IPv4", proxy, []string{"0.0.0.0:80"}, "10.0.0.1"},
		{"no address, IPv4-mapped", proxy, []string{client + ", ::ffff:0.0.0.0"}, "10.0.0.1"},
		{"multicast", proxy, []string{"224.0.0.1"}, "10.0.0.1"},
		{"multicast in IPv6", proxy, []string{"[ff02::1]:80"}, "10.0.0.1"},
		{"a host name", proxy, []string{"localhost"}, "10.0.0.1"},
		{"a short IPv4 address", proxy, []string{"127.1"}, "10.0.0.1"},
		{"a decimal IPv4 address", proxy, []string{"3221225991"}, "10.0.0.1"},
		{"an octal IPv4 address", proxy, []string{"0300.0.02.07"}, "10.0.0.1"},
		{"leading zeros", proxy, []string{"192.000.002.007"}, "10.0.0.1"},
		{"a zone on IPv4", proxy, []string{client + "%eth0"}, "10.0.0.1"},
		{"an empty zone", proxy, []string{"fe80::7%"}, "10.0.0.1"},
		{"an empty port", proxy, []string{client + ":"}, "10.0.0.1"},
		{"a port of letters", proxy, []string{client + ":http"}, "10.0.0.1"},
		{"a port of six digits", proxy, []string{client + ":123456"}, "10.0.0.1"},
		{"brackets around IPv4", proxy, []string{"[" + client + "]"}, "10.0.0.1"},
		{"an open bracket", proxy, []string{"[2001:db8::7"}, "10.0.0.1"},
		{"text after the bracket", proxy, []string{"[2001:db8::7]x"}, "10.0.0.1"},
		{"a prefix", proxy, []string{client + "/32"}, "10.0.0.1"},
		{"a NUL", proxy, []string{client + "\x00"}, "10.0.0.1"},
		{"an element that is too long", proxy, []string{client + ", " + long}, "10.0.0.1"},
		{"a first element that is too long", proxy, []string{long}, "10.0.0.1"},
		{"more empty elements than anybody needs", proxy, []string{client + strings.Repeat(",", 200)}, "10.0.0.1"},
		{"more lines than anybody needs", proxy, append([]string{client}, make([]string, 200)...), "10.0.0.1"},
		{"more proxies than anybody has", proxy, []string{client + strings.Repeat(",10.0.0.2", 200)}, "10.0.0.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := request(c.peer, xff, c.lines...)
			for _, h := range append(otherHeaders, forwarded) {
				r.Header.Set(h, "for=203.0.113.99")
			}
			if got := behindProxies(t, "").Resolve(r).String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestForwarded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"one proxy", []string{"for=192.0.2.7"}, client},
		{"three proxies", []string{"for=192.0.2.7, for=10.0.0.3, for=10.0.0.2"}, client},
		{"three proxies, a line each", []string{"for=192.0.2.7", "for=10.0.0.3", "for=10.0.0.2"}, client},
		{"other parameters", []string{"by=10.0.0.1;for=192.0.2.7;host=example.com;proto=https"}, client},
		{"letter case", []string{"FOR=192.0.2.7;Proto=http"}, client},
		{"quoted", []string{`for="192.0.2.7"`}, client},
		{"quoted with a port", []string{`for="192.0.2.7:5678"`}, client},
		{"quoted with a hidden port", []string{`for="192.0.2.7:_p.1"`}, client},
		{"unquoted with a port", []string{"for=192.0.2.7:5678"}, client},
		{"IPv6", []string{`for="[2001:db8::7]"`}, "2001:db8::7"},
		{"IPv6 with a port", []string{`for="[2001:db8::7]:5678"`}, "2001:db8::7"},
		{"IPv6 with a zone", []string{`for="[fe80::7%eth0]"`}, "fe80::7"},
		{"IPv6 without brackets", []string{`for="2001:db8::7"`}, "2001:db8::7"},
		{"IPv4-mapped", []string{`for="[::ffff:192.0.2.7]"`}, client},
		{"quoted pairs", []string{`for="\[2001:db8:\:7\]"`}, "2001:db8::7"},
		{"commas and semicolons in quotes", []string{`for=192.0.2.7;x="a, for=203.0.113.66; b", for=10.0.0.2;y=","`}, client},
		{"quotes in quotes", []string{`for=192.0.2.7;x="a\", for=203.0.113.66, \"b"`}, client},
		{"a backslash before the last quote", []string{`for=192.0.2.7;x="a\\"`}, client},
		{"empty parameters", []string{";for=192.0.2.7;;"}, client},
		{"spaces around semicolons", []string{" for=192.0.2.7 ; proto=http "}, client},
		{"empty elements", []string{",for=192.0.2.7,, for=10.0.0.2 ,"}, client},
		{"from inside the trusted network", []string{"for=10.0.0.3, for=10.0.0.2"}, "10.0.0.3"},

		{"a spoofed address", []string{"for=203.0.113.66, for=192.0.2.7"}, client},
		{"a spoofed open quote", []string{`for="203.0.113.66, for=192.0.2.7`}, client},
		{"a spoofed open quote before a quoted address", []string{`for="203.0.113.66, for="192.0.2.7"`}, client},
		{"a spoofed open quote with a backslash", []string{`for="203.0.113.66\, for="192.0.2.7:1"`}, client},
		{"a spoofed backslash", []string{`\, for="192.0.2.7"`}, client},
		{"a spoofed parameter that is open", []string{`for=203.0.113.66;x=", for=192.0.2.7;y="z"`}, client},
		{"a spoofed line that is open", []string{`for=203.0.113.66;x="`, `for=192.0.2.7`}, client},
		{"spoofed commas", []string{strings.Repeat(",", 5000) + "for=192.0.2.7"}, client},

		{"unknown", []string{"for=192.0.2.7, for=unknown"}, "10.0.0.1"},
		{"hidden", []string{"for=192.0.2.7, for=_hidden"}, "10.0.0.1"},
		{"hidden with a port", []string{`for=192.0.2.7, for="_hidden:_p"`}, "10.0.0.1"},
		{"no for", []string{"for=192.0.2.7, proto=https"}, "10.0.0.1"},
		{"an empty for", []string{"for=192.0.2.7, for="}, "10.0.0.1"},
		{"an empty quoted for", []string{`for=192.0.2.7, for=""`}, "10.0.0.1"},
		{"for twice", []string{"for=192.0.2.7;for=192.0.2.8"}, "10.0.0.1"},
		{"an address alone", []string{"192.0.2.7"}, "10.0.0.1"},
		{"a space before the value", []string{"for= 192.0.2.7"}, "10.0.0.1"},
		{"a space in the name", []string{"f or=192.0.2.7"}, "10.0.0.1"},
		{"text after the quotes", []string{`for="192.0.2.7"x`}, "10.0.0.1"},
		{"a parameter without a semicolon before it", []string{`for="192.0.2.7"x=y`}, "10.0.0.1"},
		{"a parameter after a space", []string{`for=192.0.2.7 x=y`}, "10.0.0.1"},
		{"another parameter with a space in its name", []string{"for=192.0.2.7;x y=z"}, "10.0.0.1"},
		{"another parameter without a name", []string{"for=192.0.2.7;=z"}, "10.0.0.1"},
		{"another parameter without a value", []string{"for=192.0.2.7;x="}, "10.0.0.1"},
		{"another parameter with a second equals sign", []string{"for=192.0.2.7;x=y=z"}, "10.0.0.1"},
		{"another parameter with a backslash", []string{`for=192.0.2.7;x=y\z`}, "10.0.0.1"},
		{"another parameter with a quote inside", []string{`for=192.0.2.7;x=y"z"`}, "10.0.0.1"},
		{"an open quote", []string{`for="192.0.2.7`}, "10.0.0.1"},
		{"broken after the for", []string{"for=192.0.2.7;="}, "10.0.0.1"},
		{"an element that is too long", []string{"for=192.0.2.7;x=" + strings.Repeat("x", 2000)}, "10.0.0.1"},
		{"a quote that is too long", []string{`for=192.0.2.7, x="` + strings.Repeat(",", 2000) + `"`}, "10.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := request(proxy, forwarded, c.lines...)
			for _, h := range append(otherHeaders, xff) {
				r.Header.Set(h, "203.0.113.99")
			}
			if got := behindProxies(t, "forwarded").Resolve(r).String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestTrustedPrefixesMeanWhatTheyCover(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, prefix, peer string
		trusted            bool
	}{
		{"bits below the prefix are ignored", "10.1.2.3/8", "10.9.9.9:1", true},
		{"one address", "192.0.2.1/32", "192.0.2.1:1", true},
		{"its neighbour", "192.0.2.1/32", "192.0.2.2:1", false},
		{"an IPv4-mapped prefix is the IPv4 one", "::ffff:10.0.0.0/104", "10.9.9.9:1", true},
		{"and no more", "::ffff:10.0.0.0/104", "11.0.0.1:1", false},
		{"an IPv6 prefix covers no IPv4 address", "::/0", "10.0.0.1:1", false},
		{"an IPv4 prefix covers no IPv6 address", "0.0.0.0/0", "[2001:db8::1]:1", false},
		{"a peer with a zone", "fe80::/10", "[fe80::1%eth0]:1", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := newResolver(t, clientip.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix(c.prefix)}})
			got := res.Resolve(request(c.peer, xff, "203.0.113.1"))
			if trusted := got.String() == "203.0.113.1"; trusted != c.trusted {
				t.Errorf("got %s; trusted: %v, want %v", got, trusted, c.trusted)
			}
		})
	}
}

func TestBucketIsWhatOneClientHas(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, addr string
		prefix     int
		want       string
	}{
		{"IPv4 is whole", "192.0.2.7", 0, "192.0.2.7"},
		{"IPv4 is whole whatever the prefix", "192.0.2.7", 16, "192.0.2.7"},
		{"IPv6 is its /64", "2001:db8:1:2:3:4:5:6", 0, "2001:db8:1:2::"},
		{"the next /64 is another", "2001:db8:1:3:3:4:5:6", 0, "2001:db8:1:3::"},
		{"a /56", "2001:db8:1:2ff:3:4:5:6", 56, "2001:db8:1:200::"},
		{"a /128", "2001:db8::7", 128, "2001:db8::7"},
		{"a zone is dropped", "fe80::7%eth0", 0, "fe80::"},
		{"IPv4-mapped is IPv4", "::ffff:192.0.2.7", 0, "192.0.2.7"},
		{"NAT64 is IPv4", "64:ff9b::c000:207", 0, "192.0.2.7"},
		{"beside NAT64 is not", "64:ff9b:1::c000:207", 0, "64:ff9b:1::"},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := newResolver(t, clientip.Options{IPv6Prefix: c.prefix})
			if got := res.Bucket(netip.MustParseAddr(c.addr)).String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	if got := newResolver(t, clientip.Options{}).Bucket(netip.Addr{}); got.IsValid() {
		t.Errorf("the bucket of no address is %s", got)
	}
}

func TestImpossibleOptionsAreRefusedWithTheMend(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		options clientip.Options
		want    string
	}{
		{"a header that can't be read", clientip.Options{Header: "x real ip"}, `Header "x real ip" can't be read; use "x-forwarded-for"`},
		{"hops from a peer that nobody trusts", clientip.Options{TrustedHops: 1}, "name the peer in TrustedProxies"},
		{"hops in a single address", clientip.Options{TrustedHops: 1, Header: "x-real-ip", TrustedProxies: []netip.Prefix{netip.MustParsePrefix("::/0")}}, "which holds one address"},
		{"a negative number of hops", clientip.Options{TrustedHops: -1}, "TrustedHops -1 is out of range; use 1 to 32"},
		{"too many hops", clientip.Options{TrustedHops: 33}, "TrustedHops 33 is out of range"},
		{"no prefix", clientip.Options{TrustedProxies: make([]netip.Prefix, 1)}, "TrustedProxies[0] is not a valid prefix; write it as 10.0.0.0/8"},
		{"a negative IPv6 prefix", clientip.Options{IPv6Prefix: -1}, "IPv6Prefix -1 is out of range; use 1 to 128"},
		{"an IPv6 prefix too long", clientip.Options{IPv6Prefix: 129}, "IPv6Prefix 129 is out of range"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := clientip.New(c.options); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			defer func() {
				if recover() == nil {
					t.Error("Middleware took it")
				}
			}()
			clientip.Middleware(c.options)
		})
	}
	for _, header := range []string{"", "X-Forwarded-For", "x-forwarded-for", "Forwarded", "forwarded", "FORWARDED"} {
		if _, err := clientip.New(clientip.Options{Header: header}); err != nil {
			t.Error(err)
		}
	}
}

func TestPeerOfAUnixSocketCountsAsLoopback(t *testing.T) {
	t.Parallel()
	believing := newResolver(t, clientip.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	unbelieving := newResolver(t, clientip.Options{})

	type answer struct{ believing, unbelieving netip.Addr }
	got := make(chan answer, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got <- answer{believing.Resolve(r), unbelieving.Resolve(r)}
	}))
	dir, err := os.MkdirTemp("", "clientip") // t.TempDir() is too long a name for a socket on some systems
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	srv.Listener.Close()
	srv.Listener = listener
	srv.Start()
	defer srv.Close()

	conn, err := net.Dial("unix", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := request("", xff, client)
	r.Close = true
	if err := r.Write(conn); err != nil {
		t.Fatal(err)
	}
	want := answer{netip.MustParseAddr(client), netip.MustParseAddr("127.0.0.1")}
	if got := <-got; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPeerOfAUnixSocketCannotNameItsSocketLikeAnAddress(t *testing.T) {
	t.Parallel()
	r := request("203.0.113.66:80", xff) // a file name, which becomes the RemoteAddr
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.UnixAddr{Net: "unix", Name: "s"}))
	if got := newResolver(t, clientip.Options{}).Resolve(r).String(); got != "127.0.0.1" {
		t.Errorf("got %s", got)
	}
}

func TestHeaderOfASingleAddress(t *testing.T) {
	t.Parallel()
	for _, header := range []string{"cf-connecting-ip", "X-Real-IP", "true-client-ip", "x-company-client"} {
		res := behindProxies(t, header)
		for _, c := range []struct {
			name  string
			peer  string
			lines []string
			want  string
		}{
			{"a trusted proxy's", proxy, []string{client}, client},
			{"with port", proxy, []string{" [2001:db8::7]:443"}, "2001:db8::7"},
			{"a trusted address is the client's all the same", proxy, []string{"10.0.0.9"}, "10.0.0.9"},
			{"the peer is no proxy", "192.0.2.9:1", []string{client}, "192.0.2.9"},
			{"the proxy says nothing", proxy, nil, "10.0.0.1"},
			{"a list", proxy, []string{"203.0.113.66, " + client}, "10.0.0.1"},
			{"twice", proxy, []string{"203.0.113.66", client}, "10.0.0.1"},
			{"no address", proxy, []string{"unknown"}, "10.0.0.1"},
		} {
			r := request(c.peer, header, c.lines...)
			r.Header.Set(xff, "203.0.113.66")
			if got := res.Resolve(r).String(); got != c.want {
				t.Errorf("%s, %s: got %s, want %s", header, c.name, got, c.want)
			}
		}
	}
}

func TestTrustedHops(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		hops  int
		peer  string
		lines []string
		want  string
	}{
		{1, proxy, []string{"203.0.113.66, " + client}, client},
		{2, proxy, []string{"203.0.113.66, " + client + ",, 198.51.100.1"}, client},
		{2, proxy, []string{"203.0.113.66", client, "198.51.100.1"}, client},
		{1, proxy, []string{client + ", 10.0.0.2"}, "10.0.0.2"},
		{2, proxy, []string{client}, "10.0.0.1"},
		{1, proxy, nil, "10.0.0.1"},
		{2, proxy, []string{"unknown, 198.51.100.1"}, "10.0.0.1"},
		{2, proxy, []string{client + ", unknown"}, client},
		{1, "192.0.2.9:1", []string{client}, "192.0.2.9"},
		{32, proxy, []string{client + strings.Repeat(", 198.51.100.1", 31)}, client},
	} {
		res := newResolver(t, clientip.Options{TrustedHops: c.hops, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
		if got := res.Resolve(request(c.peer, xff, c.lines...)).String(); got != c.want {
			t.Errorf("%d from %s with %q: got %s, want %s", c.hops, c.peer, c.lines, got, c.want)
		}
	}
	res := newResolver(t, clientip.Options{TrustedHops: 2, Header: "forwarded", TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if got := res.Resolve(request(proxy, forwarded, "for=203.0.113.66, for="+client+", for=198.51.100.1")).String(); got != client {
		t.Errorf("Forwarded: got %s", got)
	}
}
