package session

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// originCheck tells cross-origin requests that browsers send by Sec-Fetch-Site,
// or by Origin where that is missing, as [http.CrossOriginProtection] does.
// Requests without either are from no browser, or from the same origin.
type originCheck struct {
	off        bool
	wildcards  []httpx.WildcardOrigin // of trusted origins
	protection *http.CrossOriginProtection
}

func newOriginCheck(o CSRFOptions) (*originCheck, error) {
	c := &originCheck{off: o.Off, protection: http.NewCrossOriginProtection()}
	for _, origin := range o.TrustedOrigins {
		if w, ok := httpx.ParseWildcardOrigin(origin); ok {
			c.wildcards = append(c.wildcards, w)
			continue
		}
		if err := c.protection.AddTrustedOrigin(comparableOrigin(origin)); err != nil {
			return nil, fmt.Errorf("trusted origin: %w; give scheme and host, such as https://shop.example", err)
		}
	}
	return c, nil
}

// refuses reports whether a request that carries a session, or that asks for
// one, must not be taken.
func (c *originCheck) refuses(r *http.Request) bool {
	if websocketUpgrade(r) {
		// A GET, which the protection would let pass, but one with which a
		// foreign page talks with the user's session as long as it likes.
		return c.refusesAs(http.MethodPost, r)
	}
	return c.refusesAs(r.Method, r)
}

// refusesLogout is refuses on a logout route, where a GET ends the session as a POST does. Links
// and forms of sibling hosts that send a GET may log out.
func (c *originCheck) refusesLogout(r *http.Request) bool {
	if httpx.IsSafe(r.Method) && r.Header.Get("Sec-Fetch-Site") == "same-site" {
		return c.refuses(r)
	}
	return c.refusesAs(http.MethodPost, r)
}

// refusesAs judges the request as one of that method.
func (c *originCheck) refusesAs(method string, r *http.Request) bool {
	if c.off || httpx.IsSafe(method) {
		return false
	}
	for _, w := range c.wildcards {
		if w.Matches(comparableOrigin(r.Header.Get("Origin"))) {
			return false
		}
	}
	probe := http.Request{Method: method, Host: comparableHost(r.Host), Header: r.Header}
	if origin := r.Header.Get("Origin"); origin != comparableOrigin(origin) {
		probe.Header = http.Header{
			"Origin":         {comparableOrigin(origin)},
			"Sec-Fetch-Site": r.Header["Sec-Fetch-Site"],
		}
	}
	return c.protection.Check(&probe) != nil
}

// comparableHost is the host as browsers write it in Origin: in lower case,
// without a default port.
func comparableHost(host string) string {
	host = strings.ToLower(host)
	host = strings.TrimSuffix(host, ":443")
	return strings.TrimSuffix(host, ":80")
}

// comparableOrigin is an origin as browsers write it (RFC 6454 section 6.2).
func comparableOrigin(origin string) string {
	origin = strings.ToLower(origin)
	switch {
	case strings.HasPrefix(origin, "https://"):
		return strings.TrimSuffix(origin, ":443")
	case strings.HasPrefix(origin, "http://"):
		return strings.TrimSuffix(origin, ":80")
	}
	return origin
}

// websocketUpgrade reports whether the request asks for a WebSocket (RFC 6455
// section 4.1), be its Connection header as it may: when in doubt it does.
func websocketUpgrade(r *http.Request) bool {
	return httpx.HasToken(r.Header["Upgrade"], "websocket") || len(r.Header["Sec-Websocket-Key"]) > 0
}
