package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/redistest"
)

// plansApp logs in whom the query names, and puts the session on the plan that it names.
func plansApp(t testing.TB) *httptest.Server {
	return appFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if user := r.FormValue("user"); user != "" {
			w.Header().Set("Headgate-Login", user)
		}
		if merge := r.FormValue("merge"); merge != "" {
			w.Header().Set("Headgate-Session-Merge", merge)
		}
		for _, plan := range r.Form["plan"] {
			w.Header().Add("Headgate-Plan", plan)
		}
	})
}

// withPlans has one limit by address: 3 requests, 4 of a user, 6 on the plan gold, and 8 of the client
// on the plan partner.
const withPlans = `
redis: {url: "%s", timeout: 50s, key_prefix: "%s"}
upstreams: {shop: {servers: [%s]}}
session: {cookie: {secure: false}}
clients: {acme: {key_sha256: 1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0, plan: partner}}
limits: {api: {requests: 3, window: 1h, plans: {user: 4, gold: 6, partner: 8, free: 1}}}
defaults: {upstream: shop}
routes:
  - {path: /login, methods: [POST], session: login}
  - {path: /settings, session: optional}
  - {path: /off, session: off}
  - {path: /logout, methods: [POST], session: logout}
  - {path: /public, session: off, limits: api}
  - {path: /*, session: optional, limits: api}
`

// beforeDenial sends twelve requests to the gateways in turn, and returns how many were admitted before the first denial.
func beforeDenial(t *testing.T, gateways []*gateway, headers ...string) int {
	t.Helper()
	n := 0
	for i := range 12 {
		a := gateways[i%len(gateways)].do("GET", "/x", headers...)
		if a.StatusCode == 429 {
			return n
		}
		if a.StatusCode != 200 {
			t.Fatalf("%d %s", a.StatusCode, a.text)
		}
		n++
	}
	return n
}

// onPlans runs a test on two gateways that share a Redis, and on one that has none.
func onPlans(t *testing.T, policy string, test func(t *testing.T, gateways []*gateway)) {
	redis := redistest.Start(t)
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		text := fmt.Sprintf(policy, redis.URL, "hg:", plansApp(t).URL)
		test(t, []*gateway{start(t, text), start(t, text)})
		redis.AssertEveryKeyExpires(t)
	})
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		test(t, []*gateway{start(t, fmt.Sprintf(policy, "", "hg:", plansApp(t).URL))})
	})
}

func TestUsersHaveNumbersOfTheirOwn(t *testing.T) {
	t.Parallel()
	onPlans(t, withPlans, func(t *testing.T, all []*gateway) {
		if n := beforeDenial(t, all); n != 3 {
			t.Errorf("without a session: %d admitted, want 3", n)
		}
		// The address is denied by now, in the deny cache as well; a user behind it is not.
		cookie := all[0].login("ada")
		if n := beforeDenial(t, all, "Cookie", cookie); n != 4 {
			t.Errorf("a user: %d admitted, want 4", n)
		}
		anonymous := all[0].do("POST", "/settings?merge="+`{"a":1}`+"&plan=gold")
		if c := anonymous.Header.Get("Set-Cookie"); c == "" {
			t.Fatalf("no anonymous session: %d %s", anonymous.StatusCode, anonymous.text)
		} else if n := beforeDenial(t, all, "Cookie", strings.Split(c, ";")[0]); n != 0 {
			t.Errorf("an anonymous session: %d more admitted, want none", n)
		}
		if n := beforeDenial(t, all, "Cookie", "session=made-up"); n != 0 {
			t.Errorf("a made-up cookie: %d more admitted, want none", n)
		}
		if a := all[0].do("GET", "/public", "Cookie", cookie); a.StatusCode != 429 {
			t.Errorf("a route without sessions: %d, want 429: it knows no user", a.StatusCode)
		}
		if e := all[0].admin("GET", "/explain?method=GET&url=http://"+all[0].Addr()+"/x&header=Cookie:"+strings.ReplaceAll(cookie, "=", "%3D")); !strings.Contains(e.text, `"plan":"user"`) && !strings.Contains(e.text, `"plan": "user"`) {
			t.Errorf("explain does not name the plan: %s", e.text)
		}
	})
}

func TestTheAppPutsASessionOnAPlan(t *testing.T) {
	t.Parallel()
	onPlans(t, withPlans, func(t *testing.T, all []*gateway) {
		beside := all[0].login("ada&plan=gold")
		if n := beforeDenial(t, all, "Cookie", beside); n != 6 {
			t.Errorf("beside the login: %d admitted, want 6", n)
		}
		// The plan is the session's: another user of the address has the numbers of users.
		later := all[len(all)-1].login("bob")
		if n := beforeDenial(t, all, "Cookie", later); n != 4 {
			t.Errorf("before: %d admitted, want 4", n)
		}
		a := all[0].do("POST", "/settings?plan=gold", "Cookie", later)
		if a.StatusCode != 200 || a.Header.Get("Headgate-Plan") != "" || !strings.Contains(a.Header.Get("Cache-Control"), "no-store") {
			t.Errorf("putting it on a plan: %d %v", a.StatusCode, a.Header)
		}
		// Both are of one address, whose six are used; the log says which plan it was.
		for _, g := range all {
			eventually(t, "the plan holds on every instance", func() bool {
				return g.do("GET", "/x", "Cookie", later).Header.Get("Ratelimit-Policy") == `"api";q=6;w=3600`
			})
			eventually(t, "the access log names the plan", func() bool { return strings.Contains(g.log.String(), `"plan":"gold"`) })
		}
		if a := all[0].do("POST", "/settings?plan=user", "Cookie", later); a.StatusCode != 200 {
			t.Errorf("back to the plan of users: %d", a.StatusCode)
		}
		if a := all[0].do("POST", "/login?user=ada", "Cookie", beside); a.StatusCode != 200 {
			t.Fatalf("%d", a.StatusCode)
		} else if again := strings.Split(a.Header.Get("Set-Cookie"), ";")[0]; all[0].do("GET", "/x", "Cookie", again).Header.Get("Ratelimit-Policy") != `"api";q=6;w=3600` {
			t.Errorf("the same user, logged in again, has lost the plan")
		}
		for plan, want := range map[string]int{"silver": 200, "not+a+name": 502, "": 502, "gold&plan=gold": 502} {
			if a := all[0].do("POST", "/settings?plan="+plan, "Cookie", later); a.StatusCode != want {
				t.Errorf("plan %q: %d, want %d", plan, a.StatusCode, want)
			}
		}
		if a := all[0].do("POST", "/off?plan=gold", "Cookie", later); a.StatusCode != 502 {
			t.Errorf("on a route without sessions: %d, want 502", a.StatusCode)
		}
		if list := all[0].admin("GET", "/sessions?user=bob").text; !strings.Contains(list, "silver") {
			t.Errorf("the list of sessions does not have the plan: %s", list)
		}
		if n := all[0].do("GET", "/x", "Cookie", later).Header.Get("Ratelimit-Policy"); n != `"api";q=4;w=3600` {
			t.Errorf("on a plan that no limit knows: %s, want the numbers of users", n)
		}
	})
}

// TestAPlanThatAnotherInstanceChangedHolds: an instance remembers whose a cookie is, and denials by it. Neither must
// keep a user on the old plan.
func TestAPlanThatAnotherInstanceChangedHolds(t *testing.T) {
	t.Parallel()
	policy := fmt.Sprintf(withPlans, redistest.Start(t).URL, "hg:", plansApp(t).URL)
	here, there := start(t, policy), start(t, policy)
	cookie := here.login("ada")
	for range 2 {
		if got := there.do("GET", "/x", "Cookie", cookie).Header.Get("Ratelimit-Policy"); got != `"api";q=4;w=3600` {
			t.Fatalf("%s", got)
		}
	}
	here.do("POST", "/settings?plan=gold", "Cookie", cookie)
	if a := there.do("GET", "/x", "Cookie", cookie); a.Header.Get("Ratelimit-Policy") != `"api";q=6;w=3600` || a.Header.Get("Ratelimit") != `"api";r=5;t=3600` {
		t.Errorf("the next request at the other instance: %v", a.Header)
	}
	if n := beforeDenial(t, []*gateway{there}, "Cookie", cookie); n != 5 {
		t.Errorf("%d more admitted, want 5", n)
	}
	here.do("POST", "/settings?plan=user", "Cookie", cookie)
	eventually(t, "a denial of the old plan ends", func() bool {
		return there.do("GET", "/x", "Cookie", cookie).StatusCode == 200
	})
}

// TestWhichPlanCounts: the client's, then the session's, then that of users, and of these the first that the limit has
// a number for.
func TestWhichPlanCounts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, plans, login string
		headers            []string
		want               string
	}{
		{"a client", "{user: 4, gold: 6, partner: 8}", "", []string{"X-API-Key", "s3cret"}, "8"},
		{"a client before its user", "{user: 4, gold: 6, partner: 8}", "ada", []string{"X-API-Key", "s3cret"}, "8"},
		{"a client before the plan of its user", "{user: 4, gold: 6, partner: 8}", "ada&plan=gold", []string{"X-API-Key", "s3cret"}, "8"},
		{"a client whose plan this limit does not know", "{user: 4, gold: 6}", "ada&plan=gold", []string{"X-API-Key", "s3cret"}, "6"},
		{"a session on a plan that this limit does not know", "{user: 4}", "ada&plan=gold", nil, "4"},
		{"a user, where the limit knows clients alone", "{partner: 8}", "ada", nil, "3"},
		{"a lower plan", "{user: 4, gold: 1}", "ada&plan=gold", nil, "1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			policy := strings.Replace(withPlans, "{user: 4, gold: 6, partner: 8, free: 1}", tc.plans, 1)
			if !strings.Contains(tc.plans, "partner") { // some limit must know the client's plan
				policy = strings.Replace(policy, "limits: {", "limits: {other: {requests: 1, window: 1h, plans: {partner: 1}}, ", 1)
			}
			g := start(t, fmt.Sprintf(policy, "", "hg:", plansApp(t).URL))
			headers := slices.Clone(tc.headers)
			if tc.login != "" {
				headers = append(headers, "Cookie", g.login(tc.login))
			}
			if got, want := g.do("GET", "/x", headers...).Header.Get("Ratelimit-Policy"), `"api";q=`+tc.want+`;w=3600`; got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}
