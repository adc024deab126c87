package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
)

// keyHash names a cached resource. It is never trusted alone: the text that it
// was made of is stored with every entry and compared on every read.
type keyHash [sha256.Size]byte

func (k keyHash) String() string { return hex.EncodeToString(k[:16]) }

// maxKey bounds the text of a key, in bytes: it is stored with every entry.
const maxKey = 16 << 10

// keySpace is how long, in bytes, the text of a key may be without costing its
// request an allocation.
const keySpace = 512

// Key is what stored responses for a request are filed under, before Vary
// selects among them. [Route.Plan] makes it.
type Key struct {
	rule      *rule
	partition string
	Scheme    string
	Host      string // lower case, without the default port of Scheme or a final dot
	path      string
	url       *url.URL // for its query
	header    http.Header
	content   *content // nil but of a QUERY
}

func (r *Route) keyOf(req *http.Request, f *Facts, asks *content) Key {
	return Key{
		rule: r.rule, partition: r.options.Partition, Scheme: f.Scheme, Host: f.Host, path: f.Path,
		url: req.URL, header: req.Header, content: asks,
	}
}

// Parts are what the key is made of, in order, for people to read: the rule's
// name, the partition, the URL with the query parameters that matter, the key
// headers, and of a QUERY what its content is.
func (k *Key) Parts() []string {
	target := k.path
	if query := string(appendQuery(nil, k.rule, k.url.RawQuery)); query != "" {
		target += "?" + query
	}
	parts := []string{k.rule.Name, k.partition, k.Scheme + "://" + k.Host + target}
	for _, name := range k.rule.keyHeaders {
		parts = append(parts, name+": "+strings.Join(k.header[name], ", "))
	}
	if k.content != nil {
		parts = append(parts, k.content.parts()...)
	}
	return parts
}

// Hash is the key's name in Redis.
func (k *Key) Hash() string { return keyHash(k.Sum()).String() }

// Sum is SHA-256 over the key: requests with the same key share what is stored.
func (k *Key) Sum() [sha256.Size]byte {
	var space [512]byte
	return sha256.Sum256(k.appendText(space[:0]))
}

// appendText writes the text of the key: length-prefixed parts, so that no two
// requests can spell the same text in different ways. The path and query are
// compared as the request has them: which ones mean the same is for the origin
// to say (and, in front of it, for the gateway's normalisation).
func (k *Key) appendText(b []byte) []byte {
	b = appendPart(b, k.rule.Name)
	b = appendPart(b, k.rule.identity)
	b = appendPart(b, k.partition)
	b = appendPart(b, k.Scheme)
	b = appendPart(b, k.Host)
	b = appendPart(b, k.path)

	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b = appendQuery(b, k.rule, k.url.RawQuery)
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))

	for _, name := range k.rule.keyHeaders {
		b = appendPart(b, name)
		values := k.header[name]
		b = binary.BigEndian.AppendUint32(b, uint32(len(values)))
		for _, value := range values {
			b = appendPart(b, value)
		}
	}
	// "/p" and "/p?" are two URIs, and an origin may tell them apart.
	if k.url.ForceQuery && k.url.RawQuery == "" {
		b = append(b, '?')
	}
	if k.content != nil {
		b = k.content.appendText(b)
	}
	return b
}

func appendPart(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// appendQuery writes the parameters that are part of the key, in their order.
// A piece with a semicolon is always kept: some origins split there and would
// see a parameter inside a piece that we take for an ignored one.
func appendQuery(b []byte, rule *rule, raw string) []byte {
	if len(rule.ignoreQuery) == 0 && len(rule.query) == 0 {
		return append(b, raw...)
	}
	for first := true; raw != ""; {
		var piece string
		piece, raw, _ = strings.Cut(raw, "&")
		if !keepParameter(rule, piece) {
			continue
		}
		if !first {
			b = append(b, '&')
		}
		b = append(b, piece...)
		first = false
	}
	return b
}

func keepParameter(rule *rule, piece string) bool {
	if piece == "" {
		return false
	}
	if strings.Contains(piece, ";") || strings.Contains(piece, "%3B") || strings.Contains(piece, "%3b") {
		return true
	}
	name, _, _ := strings.Cut(piece, "=")
	if strings.ContainsAny(name, "%+") {
		decoded, err := url.QueryUnescape(name)
		if err != nil {
			return true
		}
		name = decoded
	}
	if len(rule.query) > 0 {
		return rule.query.match(name)
	}
	return !rule.ignoreQuery.match(name)
}
