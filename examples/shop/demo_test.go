package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/examples/shop/app"
	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/policies"
)

// small keeps the tests quick: SQLite in Go under the race detector is slow.
var small = app.Size{Products: 120, Customers: 60, Orders: 500, Reviews: 200, PasswordIterations: 10}

// newDemo starts a small shop on free ports.
func newDemo(t *testing.T, o demoOptions) *demo {
	t.Helper()
	free := [2]string{"127.0.0.1:0", "127.0.0.1:0"}
	o.Apps, o.Gateways, o.Admins, o.Balancer = free, free, free, "127.0.0.1:0"
	o.Size = small
	o.AccessLog = "off"
	o.RedisTimeout = "10s" // two busy cores are not an outage
	o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	d, err := startDemo(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := d.close(ctx); err != nil {
			t.Error(err)
		}
	})
	return d
}

// onEachStore runs a test with gateways that share a store in the process, and
// with gateways that share Redis.
func onEachStore(t *testing.T, test func(t *testing.T, d *demo)) {
	t.Parallel()
	t.Run("in process", func(t *testing.T) {
		t.Parallel()
		test(t, newDemo(t, demoOptions{}))
	})
	t.Run("Redis", func(t *testing.T) {
		t.Parallel()
		test(t, newDemo(t, demoOptions{RedisURL: redistest.Start(t).URL}))
	})
}

// visitor is a client at one address, with cookies of its own and no
// inclination to follow redirects.
type visitor struct {
	t    *testing.T
	http http.Client
}

func newVisitor(t *testing.T, address string) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return &visitor{t: t, http: http.Client{
		Jar: jar, Transport: transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (v *visitor) do(method, target string, form url.Values) answer {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, target, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Host = "shop.test" // both gateways are behind one name, as they would be; the cache goes by it
	r.Header.Set("Accept", "text/html")
	response, err := v.http.Do(r)
	if err != nil {
		v.t.Errorf("%s %s: %v", method, target, err)
		return answer{}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		v.t.Errorf("%s %s: %v", method, target, err)
	}
	return answer{response.StatusCode, response.Header, string(body)}
}

func (v *visitor) get(target string) answer { v.t.Helper(); return v.do(http.MethodGet, target, nil) }

func (v *visitor) post(target string, form url.Values) answer {
	v.t.Helper()
	return v.do(http.MethodPost, target, form)
}

func (v *visitor) login(gateway, name, password string) {
	v.t.Helper()
	if a := v.post(gateway+"/login", url.Values{"login": {name}, "password": {password}}); a.status != http.StatusSeeOther {
		v.t.Fatalf("login of %s: %d %s", name, a.status, a.body)
	}
}

func TestPolicyNeedsNoEnvironmentAndWarnsOfPlainHTTPAlone(t *testing.T) {
	t.Parallel()
	none := func(string) (string, bool) { return "", false }
	_, problems := policies.Parse("headgate.yaml", policyFile, policies.LoadOptions{LookupEnv: none})
	for _, p := range problems {
		if p.Severity == policies.Error || !strings.Contains(p.Message, "session cookie") {
			t.Error(p)
		}
	}
}

func TestHundredAndFirstRequestWithinAMinuteIsDeniedAndAnotherAddressGoesOn(t *testing.T) {
	onEachStore(t, func(t *testing.T, d *demo) {
		guest := newVisitor(t, "127.0.0.2")
		statuses := map[int]int{}
		for i := range 103 {
			statuses[guest.get(d.gatewayURL(i%2)+"/healthz").status]++
		}
		if want := map[int]int{200: 100, 429: 3}; !maps.Equal(statuses, want) {
			t.Errorf("statuses %v, want %v", statuses, want)
		}
		denied := guest.get(d.gatewayURL(0) + "/")
		if denied.status != 429 || denied.header.Get("Retry-After") == "" || denied.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("denial: %d, %v", denied.status, denied.header)
		}
		if other := newVisitor(t, "127.0.0.3").get(d.gatewayURL(0) + "/healthz"); other.status != 200 {
			t.Errorf("another address: %d", other.status)
		}
	})
}

func TestGuessingPasswordsIsSlowedDownAndTheOwnerIsNot(t *testing.T) {
	onEachStore(t, func(t *testing.T, d *demo) {
		guesser := newVisitor(t, "127.0.0.2")
		for i := range 7 {
			want := 401
			if i >= 5 {
				want = 429
			}
			if a := guesser.post(d.gatewayURL(i%2)+"/login", url.Values{"login": {"ada"}, "password": {"guess"}}); a.status != want {
				t.Errorf("guess %d: %d, want %d", i+1, a.status, want)
			}
		}
		owner := newVisitor(t, "127.0.0.3")
		for range 7 {
			owner.login(d.gatewayURL(0), "ada", "analytical-engine")
		}
	})
}

func TestLoggedInAtOneGatewayIsLoggedInAtTheOther(t *testing.T) {
	onEachStore(t, func(t *testing.T, d *demo) {
		one, two := d.gatewayURL(0), d.gatewayURL(1)
		ada := newVisitor(t, "127.0.0.1")

		// What is in the cart before the login is kept.
		ada.post(two+"/cart", url.Values{"product": {"2"}, "quantity": {"1"}})
		ada.login(one, "ada", "analytical-engine")
		if home := ada.get(two + "/"); !strings.Contains(home.body, "Welcome back, Ada Lovelace.") {
			t.Error("the other gateway does not know Ada")
		}
		if a := ada.post(two+"/cart", url.Values{"product": {"1"}, "quantity": {"3"}}); a.status != 303 {
			t.Errorf("cart: %d %s", a.status, a.body)
		}
		for _, gateway := range []string{one, two} {
			cart := ada.get(gateway + "/cart").body
			if !strings.Contains(cart, "Oak Teapot</span>") || !strings.Contains(cart, `value="3"`) || !strings.Contains(cart, "Oak Desk Lamp</span>") {
				t.Errorf("the cart is not the same at %s", gateway)
			}
		}
		if admin := ada.get(one + "/admin"); admin.status != 403 {
			t.Errorf("a customer in the back office: %d, want 403", admin.status)
		}
		if a := ada.post(two+"/logout", nil); a.status != 303 {
			t.Errorf("logout: %d", a.status)
		}
		if home := ada.get(one + "/"); strings.Contains(home.body, "Ada") {
			t.Error("logged out at one gateway, and still known at the other")
		}
		if admin := ada.get(one + "/admin"); admin.status != 303 || !strings.HasPrefix(admin.header.Get("Location"), "/login?next=") {
			t.Errorf("back office without login: %d to %q", admin.status, admin.header.Get("Location"))
		}
	})
}

func TestOneAppServerKilledNobodyNotices(t *testing.T) {
	onEachStore(t, func(t *testing.T, d *demo) {
		ada := newVisitor(t, "127.0.0.1")
		ada.login(d.gatewayURL(0), "ada", "analytical-engine")
		if said := d.obey("stop a"); said != "shop-a is gone." {
			t.Fatal(said)
		}
		for i := range 10 {
			a := ada.get(d.gatewayURL(i%2) + "/")
			if a.status != 200 || a.header.Get("Shop-Server") != "shop-b" || !strings.Contains(a.body, "Ada Lovelace") {
				t.Errorf("request %d: %d by %q", i, a.status, a.header.Get("Shop-Server"))
			}
		}
		if said := d.obey(" START shop-a "); said != "shop-a is back." {
			t.Fatal(said)
		}
		n := 0
		eventually(t, "shop-a answers again", func() bool {
			n++ // another URL each time, which no cache knows, on a route without limits
			return ada.get(fmt.Sprintf("%s/static/shop.css?%d", d.gatewayURL(0), n)).header.Get("Shop-Server") == "shop-a"
		})
	})
}

func TestClientsCannotSpeakInTheGatewaysName(t *testing.T) {
	t.Parallel()
	d := newDemo(t, demoOptions{})
	for _, name := range []string{"Headgate-User", "headgate_user", "HEADGATE.USER"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.gatewayURL(0)+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header[name] = []string{"42"}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != 200 || strings.Contains(string(body), "Ada") {
			t.Errorf("%s: %d, or became Ada", name, response.StatusCode)
		}
	}
	guest := newVisitor(t, "127.0.0.1")
	a := guest.post(d.gatewayURL(0)+"/login", url.Values{"login": {"ada"}, "password": {"analytical-engine"}})
	for name := range a.header {
		if strings.HasPrefix(name, "Headgate-") {
			t.Errorf("the client sees %s", name)
		}
	}
}

func TestTypingNonsenseExplainsWhatCanBeTyped(t *testing.T) {
	t.Parallel()
	d := newDemo(t, demoOptions{})
	for _, line := range []string{"help", "stop", "stop c", "halt a", "stop a b"} {
		if said := d.obey(line); !strings.HasPrefix(said, "Type: ") {
			t.Errorf("%q: %q", line, said)
		}
	}
	if said := d.obey("  "); said != "" {
		t.Errorf("an empty line is answered: %q", said)
	}
}

// eventually polls, for what happens in the background.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
