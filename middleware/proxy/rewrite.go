package proxy

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/httputil"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/headgate/headgate/internal/httpx"
)

// rewrite makes the request that goes to a server.
func (tx *transaction) rewrite() *Error {
	in, out := tx.in, &tx.request
	*out, tx.url = *in, *in.URL
	tx.out, out.URL, out.Close = out, &tx.url, false
	if in.ContentLength == 0 {
		out.Body, out.Trailer = nil, nil
	}
	upgrade := ""
	if in.ProtoAtLeast(1, 1) { // RFC 9110 section 7.8: in HTTP/1.0 it is ignored
		upgrade = upgradeType(in.Header)
	}
	if !isPrintable(upgrade) {
		return tx.newError(KindBadRequest, http.StatusBadRequest, fmt.Errorf("the protocol %q to switch to is malformed", upgrade))
	}
	out.Header = forwardable(in.Header)
	if httpguts.HeaderValuesContainsToken(in.Header["Te"], "trailers") {
		out.Header["Te"] = teTrailers
	}
	if upgrade != "" && tx.maySwitchTo(upgrade) {
		out.Header["Connection"], out.Header["Upgrade"] = connectionUpgrade, []string{upgrade}
	}
	appendVia(out.Header, in.ProtoMajor, in.ProtoMinor, cmp.Or(tx.up.options.Pseudonym, defaultPseudonym), &tx.values.via)
	countForward(in.Method, out.Header)
	if s := tx.pool.sticky; s != nil {
		httpx.CutCookie(out.Header, s.name)
	}
	tx.setForwarded(out)
	ensureTraceparent(out.Header, &tx.values.traceparent)
	if tx.route.RewriteHost {
		out.Host = "" // every attempt sets its server's
	}
	if tx.route.Rewrite != nil {
		pr := &httputil.ProxyRequest{In: in, Out: out}
		tx.route.Rewrite(pr)
		tx.out = pr.Out
	}
	tx.serversHost = tx.route.RewriteHost && tx.out.Host == ""
	return nil
}

// Values of fields that are the same for every request. They are not written to.
var (
	teTrailers        = []string{"trailers"}
	connectionUpgrade = []string{"Upgrade"}
)

// upgradeType is the protocol that a header asks or agrees to switch to, or empty.
func upgradeType(h http.Header) string {
	if !httpguts.HeaderValuesContainsToken(h["Connection"], "upgrade") {
		return ""
	}
	return h.Get("Upgrade")
}

func isPrintable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// maySwitchTo leaves WebSocket as the only protocol to upgrade to. Through
// another, above all h2c, a client could send requests to the server that the
// gateway neither limits nor checks. A server may ignore an Upgrade (RFC 9110
// section 7.8), so the request is forwarded without it. HTTP/2 has no Upgrade.
func (tx *transaction) maySwitchTo(protocol string) bool {
	p := tx.pool.cfg.Protocol
	return strings.EqualFold(protocol, "websocket") && len(tx.in.Header["Upgrade"]) == 1 && p != HTTP2 && p != H2C
}
