package cache

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
)

// KeyParts returns what the key of a request under this rule is made of, in
// order, for people to read: the rule's name, the partition, the URL with the
// query parameters that matter, and the key headers.
func (r Rule) KeyParts(partition, scheme, host string, u *url.URL, h http.Header) []string {
	rule, err := r.compile()
	if err != nil {
		return nil
	}
	target := httpx.RawPath(u)
	if query := string(appendQuery(nil, rule, u.RawQuery)); query != "" {
		target += "?" + query
	}
	parts := []string{r.Name, partition, scheme + "://" + httpx.Authority(host, scheme) + target}
	for _, name := range rule.keyHeaders {
		parts = append(parts, name+": "+strings.Join(h[name], ", "))
	}
	return parts
}
