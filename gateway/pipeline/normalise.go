package pipeline

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/policies"
)

// locate finds the scheme and the authority that the client asked for, which a trusted
// proxy in front may know better than the connection. All stages go by what it finds:
// routes, cache keys, cookies, the CSRF check, and what the app server is told.
func (r *Request) locate(peer netip.Addr) {
	s := &r.pipeline.policy.Server
	if s.PublicScheme != "" {
		r.Scheme = string(s.PublicScheme)
	}
	if len(s.TrustForwarded) == 0 {
		return
	}
	told := r.pipeline.resolver.Told(peer, r.Header)
	if told.Scheme != "" && slices.Contains(s.TrustForwarded, policies.ForwardedProto) {
		r.Scheme = told.Scheme
	}
	if told.Host != "" && slices.Contains(s.TrustForwarded, policies.ForwardedHost) {
		r.Authority = told.Host
	}
	if told.Port != "" && slices.Contains(s.TrustForwarded, policies.ForwardedPort) {
		if host, err := httpx.NormalizeHost(r.Authority, r.Scheme); err == nil && host.Name != "" { // normalise answers the others
			r.Authority = host.Name + ":" + told.Port
		}
	}
}

// normalise gives host and path the one form that all stages behind it see, and the
// app server, too: RFC 3986 section 6.2.2.
func normalise(r *Request) *Answer {
	raw := r.rawPath()
	host, err := httpx.NormalizeHost(r.Authority, r.Scheme)
	if err != nil {
		return refuse(http.StatusBadRequest, "The Host is not a host name or address.").because(err)
	}
	r.Authority, r.Host = host.Authority, host.Name
	if r.http != nil {
		r.http.Host = host.Authority
	}
	if r.Method == http.MethodConnect {
		return refuse(http.StatusMethodNotAllowed, "This is not a forward proxy: CONNECT is not served here.").with("Allow", "")
	}
	if r.Method == http.MethodTrace { // RFC 9110 section 9.3.8: the app server would send back what the gateway has added
		return refuse(http.StatusMethodNotAllowed, "TRACE is not forwarded.").with("Allow", "")
	}
	if r.Target == "*" { // RFC 9112 section 3.2.4: it asks about the server itself
		if r.Method != http.MethodOptions {
			return refuse(http.StatusBadRequest, "The target * is for OPTIONS alone.")
		}
		return r.answered(Answer{Status: http.StatusNoContent, Detail: "the gateway answers for itself", form: asBare})
	}
	if left, limited := proxy.MaxForwards(r.Method, r.Header); limited && left == 0 {
		return r.answered(Answer{Status: http.StatusNoContent, Detail: "the gateway answers for itself, as Max-Forwards says", form: asBare})
	}
	path, err := httpx.NormalizePath(raw)
	if err != nil {
		return refuse(http.StatusBadRequest, "The path is malformed, or could be read as another one.").because(err)
	}
	r.Path = path
	if r.http != nil {
		// An absolute request target names scheme and server as well. The listener has
		// taken the Host from it; the app server gets the ordinary form.
		u := r.http.URL
		u.Path, u.RawPath = path.Path, path.RawPath
		u.Scheme, u.Host, u.User, u.Fragment = "", "", nil, ""
	}
	return nil
}

// rawPath returns the escaped path as the client wrote it. A parsed URL does not have
// it any more: parsing drops an escaped path that it finds invalid.
func (r *Request) rawPath() string {
	if r.http != nil && !strings.HasPrefix(r.Target, "/") && !strings.Contains(r.Target, "://") {
		return httpx.RawPath(r.http.URL) // a request that no listener has read, such as a test's
	}
	_, path, _ := SplitTarget(r.Target)
	return path
}

// SplitTarget takes a request's target apart: /path?query, or in absolute form with
// scheme and host before it (RFC 9112 section 3.2.2).
func SplitTarget(target string) (host, path, query string) {
	if !strings.HasPrefix(target, "/") {
		if _, rest, ok := strings.Cut(target, "://"); ok {
			end := strings.IndexAny(rest, "/?")
			if end < 0 {
				return rest, "/", ""
			}
			host, target = rest[:end], rest[end:]
			if target[0] == '?' {
				target = "/" + target
			}
		}
	}
	path, query, _ = strings.Cut(target, "?")
	return host, path, query
}
