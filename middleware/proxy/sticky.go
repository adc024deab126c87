package proxy

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/problem"
)

// affinity is what a request brings along to be given the same server as before.
type affinity struct {
	hash    uint64   // of the client's address, for IPHash
	cookies []string // the values of the cookies of Cookie
}

// stickiness knows the members of a pool by the value that their clients' cookie has. That is a MAC of the server's URL and address: it
// tells nothing of them, it can't be made up, and all instances of the gateway that have the secret have the same.
type stickiness struct {
	name   string
	values []string       // of each member, by the secret that makes new cookies
	known  map[string]int // the member of a value, by any secret
}

// minSecret is how many bytes a secret must have.
const minSecret = 32

// newStickiness makes what an upstream's balance: cookie needs, from the members' seeds; nil for other balances.
func newStickiness(cfg *Config, upstream string, seeds []string) (*stickiness, error) {
	if cfg.Balance != Cookie {
		return nil, nil
	}
	s := &stickiness{name: cfg.AffinityCookieName(upstream), known: map[string]int{}}
	for n, secret := range cfg.Cookie.Secrets {
		if len(secret) < minSecret {
			return nil, fmt.Errorf("a secret of the cookie has %d bytes, and needs %d or more", len(secret), minSecret)
		}
		key, err := hkdf.Key(sha256.New, secret, nil, "headgate upstream cookie", sha256.Size)
		if err != nil {
			return nil, err
		}
		for i, seed := range seeds {
			mac := hmac.New(sha256.New, key)
			fmt.Fprintf(mac, "%d:%s%s", len(upstream), upstream, seed)
			value := base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
			s.known[value] = i
			if n == 0 {
				s.values = append(s.values, value)
			}
		}
	}
	return s, nil
}

// AffinityCookieName is the name of the cookie of an upstream's balance: cookie; "" for other balances.
func (c *Config) AffinityCookieName(upstream string) string {
	switch {
	case c.Balance != Cookie:
		return ""
	case c.Cookie.Name != "":
		return c.Cookie.Name
	}
	sum := sha256.Sum256([]byte(upstream))
	return "headgate-server-" + hex.EncodeToString(sum[:4])
}

// validateCookie checks what balance: cookie needs.
func (c *Config) validateCookie(ps *problem.List) {
	name := c.Cookie.Name
	switch {
	case c.Balance != Cookie && name != "":
		ps.Add("cookie", "write balance: cookie, or remove it", "no server is chosen by a cookie")
	case c.Balance != Cookie:
	case len(c.Cookie.Secrets) == 0:
		ps.Add("balance", "give the policy session.secrets, made with: openssl rand -base64 32", "the cookie can't be signed without a secret")
	}
	lower := strings.ToLower(name)
	switch {
	case name == "":
	case !httpguts.ValidHeaderFieldName(name):
		ps.Add("cookie.name", "use letters, digits, and - _ .", "%s is not the name of a cookie", problem.Quote(name))
	case strings.HasPrefix(lower, "__host-"), strings.HasPrefix(lower, "__secure-"):
		ps.Add("cookie.name", "choose a name without the prefix", "browsers refuse %s where a client speaks http", problem.Quote(name))
	}
}

// home returns the index of the member that a request's cookie names.
func (p *pool) home(a *affinity) (i int, ok bool) {
	if p.sticky == nil {
		return 0, false
	}
	for _, value := range a.cookies {
		if i, ok = p.sticky.known[value]; ok {
			return i, true
		}
	}
	return 0, false
}

// pick chooses among the candidates: the server of the request's cookie if it is among them, else as the balance says.
func (p *pool) pick(cs []candidate, a *affinity) int {
	if i, ok := p.home(a); ok && cs[i].weight > 0 {
		return i
	}
	return p.balancer.pick(cs, a.hash)
}

// takeCookies finds the request's cookies of balance: cookie.
func (tx *transaction) takeCookies() []string {
	if taken := tx.route.AffinityCookies; taken != nil {
		return taken(tx.in)
	}
	return slices.Collect(httpx.CookieValues(tx.in.Header["Cookie"], tx.pool.sticky.name))
}

// stick gives the client the cookie of the server that has answered, unless it has that already.
func (tx *transaction) stick(res *http.Response) {
	s := tx.pool.sticky
	if s == nil {
		return
	}
	httpx.CutSetCookie(res.Header, s.name)
	value, needed := tx.newCookie()
	if !needed || res.StatusCode == http.StatusNotModified { // the fields of a 304 would become those of a response that is stored
		return
	}
	cookie := (&http.Cookie{
		Name: s.name, Value: value, Path: "/", HttpOnly: true, Secure: tx.scheme() == "https", SameSite: http.SameSiteLaxMode,
	}).String()
	if set := tx.route.SetAffinityCookie; set != nil && res.StatusCode != http.StatusSwitchingProtocols {
		set(tx.in, cookie)
		return
	}
	res.Header.Add("Set-Cookie", cookie)
	httpx.KeepPrivate(res.Header)
}

// newCookie returns the value of the cookie that the client needs, if it needs one: that of the server that has answered. A client
// whose own server is only full keeps its cookie.
func (tx *transaction) newCookie() (value string, needed bool) {
	p := tx.pool
	answered := slices.IndexFunc(p.members, func(m member) bool { return m.server == tx.current.server })
	if answered < 0 {
		return "", false
	}
	home, ok := p.home(&tx.affinity)
	if ok && home != answered {
		_, fit := p.weigh(&p.members[home], tx.up.tick(tx.up.now()), tx.tried, false)
		if fit && p.members[home].backup == p.members[answered].backup {
			return "", false
		}
	}
	value = p.sticky.values[answered]
	return value, !slices.Contains(tx.affinity.cookies, value)
}
