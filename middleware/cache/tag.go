package cache

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/dunglas/httpsfv"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/cache/internal/fleet"
)

// tag is what a purge names: the hash of a kind and a text. Everything that
// can be purged together is a tag, so that there is one mechanism for URLs,
// prefixes, hosts, groups and tags proper.
type tag = fleet.Tag

type tagKind byte

const (
	tagAll    tagKind = 'a' // every entry has it
	tagURL    tagKind = 'u' // host, path and the query of the key
	tagPrefix tagKind = 'p' // host, and the path up to a slash
	tagName   tagKind = 't' // Cache-Tag, Surrogate-Key, Rule.Tags
	tagGroup  tagKind = 'g' // Cache-Groups, of one origin (RFC 9875)
)

func tagOf(kind tagKind, parts ...string) tag {
	var t tag
	b := make([]byte, 0, 128)
	b = append(b, byte(kind))
	for _, p := range parts {
		b = appendPart(b, p)
	}
	sum := sha256.Sum256(b)
	copy(t[:], sum[:])
	return t
}

const (
	maxTags     = 256 // of one response
	maxSegments = 64  // of a path that is cached: each is a prefix to purge by
)

var errTooManyTags = errors.New("too-many-tags")

// targetTags are the tags that a request's target implies, known before any
// response is: everything, the host, each prefix, and the URL itself. Paths
// that mean the same have the same tags, although their keys may differ: purging
// too much is safe, serving another path is not. The scheme is left out: a purge
// by URL means both, so that an operator behind a proxy that ends TLS need not
// know which one this cache saw.
func targetTags(host, path, query string) []tag {
	tags := make([]tag, 0, 8)
	tags = append(tags, tagOf(tagAll), tagOf(tagURL, host, httpx.ComparablePath(path), query))
	for _, prefix := range prefixesOf(path) {
		tags = append(tags, tagOf(tagPrefix, host, prefix))
	}
	return tags
}

// prefixesOf lists what a path begins with, at slash boundaries: "/a/b" has
// "", "/a" and "/a/b".
func prefixesOf(path string) []string {
	path = strings.TrimRight(httpx.ComparablePath(path), "/")
	prefixes := []string{""}
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			if len(prefixes) > maxSegments { // such requests are not cached
				return prefixes
			}
			prefixes = append(prefixes, path[:i])
		}
	}
	if path != "" {
		prefixes = append(prefixes, path)
	}
	return prefixes
}

// responseTags are the tags that a response carries: Cache-Tag (commas),
// Surrogate-Key (spaces) and Cache-Groups (RFC 9875, an RFC 8941 list of
// strings that belongs to the origin).
func responseTags(h http.Header, origin string) ([]tag, error) {
	var tags []tag
	for name := range httpx.Tokens(h["Cache-Tag"]) {
		tags = append(tags, tagOf(tagName, name))
	}
	for _, line := range h["Surrogate-Key"] {
		for name := range strings.FieldsSeq(line) {
			tags = append(tags, tagOf(tagName, name))
		}
	}
	for _, group := range cacheGroups(h["Cache-Groups"]) {
		tags = append(tags, tagOf(tagGroup, origin, group))
	}
	if len(tags) > maxTags {
		return nil, errTooManyTags
	}
	return tags, nil
}

// cacheGroups reads Cache-Groups or Cache-Group-Invalidation, RFC 9875
// sections 2 and 3: a list of strings. What does not parse is ignored as a
// whole, a member that is no string by itself.
func cacheGroups(lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	list, err := httpsfv.UnmarshalList(lines)
	if err != nil {
		return nil
	}
	var groups []string
	for _, member := range list {
		if item, ok := member.(httpsfv.Item); ok {
			if name, ok := item.Value.(string); ok {
				groups = append(groups, name)
			}
		}
	}
	return groups
}

// Purge names what to purge. Exactly one of URL, Prefix, Tag, Group and All is given.
type Purge struct {
	// URL is a whole URL: every stored response for it goes, whatever its
	// variant, method and scheme.
	URL string
	// Prefix is a whole URL: everything at or below it goes, at slash
	// boundaries: /a takes /a/b and not /ab. Without a path it takes the host.
	Prefix string
	// Tag is a surrogate tag: of Cache-Tag, Surrogate-Key or Rule.Tags. It names no
	// cache group, which belongs to an origin.
	Tag string
	// Group is a cache group, one of Cache-Groups, of Origin alone (RFC 9875 section
	// 2): scheme, host and port as clients use them, such as https://shop.example.
	Group, Origin string
	// All purges everything.
	All bool
	// Soft marks as stale instead of removing: stale-while-revalidate,
	// stale-if-error and validation still use what is there.
	Soft bool
}

// Check says what is wrong with the purge itself, if anything is.
func (p Purge) Check() error {
	_, err := p.tags(func(raw string) []string { return []string{raw} })
	return err
}

// tags resolves a purge. filters give the queries that the rules in force
// would make of the URL's: an entry is tagged with the query of its key.
func (p Purge) tags(filters func(raw string) []string) ([]tag, error) {
	given := 0
	for _, is := range []bool{p.URL != "", p.Prefix != "", p.Tag != "", p.Group != "" || p.Origin != "", p.All} {
		if is {
			given++
		}
	}
	if given != 1 {
		return nil, errors.New("cache: purge: give exactly one of URL, Prefix, Tag, Group and All")
	}
	switch {
	case p.All:
		return []tag{tagOf(tagAll)}, nil
	case p.Tag != "":
		return []tag{tagOf(tagName, strings.TrimSpace(p.Tag))}, nil
	case p.Group != "" || p.Origin != "":
		return p.groupTags()
	case p.Prefix != "":
		u, err := wholeURL(p.Prefix)
		if err != nil {
			return nil, err
		}
		if u.RawQuery != "" {
			return nil, fmt.Errorf("cache: purge: the prefix %q has a query; prefixes end in the path", p.Prefix)
		}
		return []tag{tagOf(tagPrefix, httpx.Authority(u.Host, u.Scheme), strings.TrimRight(httpx.ComparablePath(httpx.RawPath(u)), "/"))}, nil
	}
	u, err := wholeURL(p.URL)
	if err != nil {
		return nil, err
	}
	return urlTags(u, u.Scheme, filters), nil
}

// groupTags names a group as responseTags does.
func (p Purge) groupTags() ([]tag, error) {
	if p.Group == "" || strings.ContainsFunc(p.Group, func(r rune) bool { return r < ' ' || r > '~' }) {
		return nil, fmt.Errorf("cache: purge: %q is not a cache group; Cache-Groups has printable ASCII alone", p.Group)
	}
	u, err := url.Parse(p.Origin)
	if err != nil || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("cache: purge: %q is not the origin that a group belongs to; write it as https://host", p.Origin)
	}
	host, err := httpx.NormalizeHost(u.Host, u.Scheme)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("cache: purge: %q is not the origin that a group belongs to; write it as https://host", p.Origin)
	}
	return []tag{tagOf(tagGroup, u.Scheme+"://"+host.Authority, p.Group)}, nil
}

func urlTags(u *url.URL, scheme string, filters func(raw string) []string) []tag {
	var tags []tag
	host, path := httpx.Authority(u.Host, scheme), httpx.ComparablePath(httpx.RawPath(u))
	for _, query := range filters(u.RawQuery) {
		if t := tagOf(tagURL, host, path, query); !slices.Contains(tags, t) {
			tags = append(tags, t)
		}
	}
	return tags
}

func wholeURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("cache: purge: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("cache: purge: %q is not a whole URL; write it as https://host/path", s)
	}
	return u, nil
}
