package ratelimit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/internal/suggest"
	"github.com/headgate/headgate/middleware/problem"
)

// KeyPart is one thing that makes up a limit's key.
type KeyPart struct {
	Kind KeyKind
	Name string // of the header, cookie, path or query parameter; otherwise empty
}

// KeyKind says where a key's part comes from.
type KeyKind uint8

const (
	KeyIP      KeyKind = iota // the client's address, an IPv6 client's prefix
	KeyClient                 // the owner of a known API key
	KeyUser                   // the user of a live session
	KeySession                // a live session with a user
	KeyRoute                  // the route's name
	KeyHost                   // the host asked for, without port
	KeyMethod                 // the method; HEAD counts as GET
	KeyHeader                 // a request header's first value
	KeyCookie                 // a cookie's value
	KeyParam                  // what a :name of the route's path matched
	KeyQuery                  // a parameter of the query
	KeyAccount                // the account that was tried to log in to, which the app names; see Limiter.CheckAttempt

	keyUnknown KeyKind = 255 // of what could not be read
)

var kindNames = [...]string{"ip", "client", "user", "session", "route", "host", "method", "header", "cookie", "param", "query", "account"}

// keyWords are the ways to write a part.
var keyWords = []string{"ip", "client", "user", "session", "route", "host", "method", "header:NAME", "cookie:NAME", "param:NAME", "query:NAME", "account"}

// ParseKeyPart reads ip, client, user, session, route, host, method, account, header:NAME,
// cookie:NAME, param:NAME or query:NAME. Its error is a [problem.Problem].
func ParseKeyPart(s string) (KeyPart, error) {
	kind, name, named := strings.Cut(s, ":")
	for k, known := range kindNames {
		if kind != known {
			continue
		}
		p := KeyPart{Kind: KeyKind(k), Name: name}
		if p.Kind == KeyHeader {
			p.Name = http.CanonicalHeaderKey(name)
		}
		if named != p.named() {
			break
		}
		if wrong, ok := p.problem(); ok {
			return p, wrong
		}
		return p, nil
	}
	return KeyPart{Kind: keyUnknown}, problem.New("", suggest.DidYouMean(s, "keys", keyWords), "a limit can't count by %s", problem.Quote(s))
}

// UnmarshalText reads the part as [ParseKeyPart] does.
func (p *KeyPart) UnmarshalText(text []byte) (err error) {
	*p, err = ParseKeyPart(string(text))
	return err
}

// ParseKey reads a key of one or several parts.
func ParseKey(parts ...string) ([]KeyPart, error) {
	var key []KeyPart
	var errs []error
	for _, s := range parts {
		p, err := ParseKeyPart(s)
		key, errs = append(key, p), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return key, nil
}

// KeyWords returns a key's parts as they are written.
func KeyWords(key []KeyPart) []string {
	words := make([]string, len(key))
	for i, p := range key {
		words[i] = p.String()
	}
	return words
}

// String returns the part as [ParseKeyPart] reads it.
func (p KeyPart) String() string {
	if p.named() {
		return p.Kind.String() + ":" + p.Name
	}
	return p.Kind.String()
}

// String returns the kind as it stands in a policy.
func (k KeyKind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("KeyKind(%d)", uint8(k))
}

func (p KeyPart) named() bool {
	return p.Kind == KeyHeader || p.Kind == KeyCookie || p.Kind == KeyParam || p.Kind == KeyQuery
}

// nameFits reports whether the name is one that a request's header, cookie or parameter can have.
func (p KeyPart) nameFits() bool {
	if p.Kind == KeyParam || p.Kind == KeyQuery {
		return p.Name != "" && utf8.ValidString(p.Name) && !strings.ContainsFunc(p.Name, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' })
	}
	return httpx.IsToken(p.Name)
}

// problem says what is wrong with the part, if anything is.
func (p KeyPart) problem() (problem.Problem, bool) {
	switch {
	case int(p.Kind) >= len(kindNames):
		return problem.New("", "use one of the kinds, such as KeyIP", "a limit can't count by the kind %d", p.Kind), true
	case !p.named() && p.Name != "":
		return problem.New("", "leave the name out", "the key %s takes no name, but has %s", p.Kind, problem.Quote(p.Name)), true
	case p.named() && !p.nameFits():
		what, mend := p.Kind.String(), "write it like header:X-Tenant or cookie:tenant"
		if p.Kind == KeyParam || p.Kind == KeyQuery {
			what, mend = "parameter", "write it like param:id or query:user"
		}
		return problem.New("", mend, "%s names no %s", problem.Quote(p.String()), what), true
	}
	return problem.Problem{}, false
}

// NeedsSession reports whether the part is known only once the session is.
func (p KeyPart) NeedsSession() bool { return p.Kind == KeyUser || p.Kind == KeySession }

// identifies reports whether the part tells clients apart, rather than what
// they ask for.
func (p KeyPart) identifies() bool {
	switch p.Kind {
	case KeyRoute, KeyHost, KeyMethod, KeyParam, KeyQuery:
		return false
	}
	return true
}

// fallsBack reports whether the client's address stands in for the part where it is
// missing: as it may of a client's identity, of the route where none fits, and of parameters.
func (p KeyPart) fallsBack() bool {
	return p.Kind != KeyHost && p.Kind != KeyMethod && p.Kind != KeyAccount
}

// digest stands for the values of a key: SHA-256 over all of them, each with
// its kind and length before it, cut to 128 bits. So `a|b`, `c` is not `a`, `b|c`,
// no client can make two keys that collide, and a long value makes no long key.
type digest [16]byte

func (d digest) String() string { return hex.EncodeToString(d[:]) }

// counterKey is where a counter lives: which limit's, and whose.
type counterKey struct {
	limit uint64
	digest
}

// digests returns the digest of all the key's values, and that of those which
// tell clients apart, which is the hash tag: so all limits of a client share one
// Cluster slot, per-route ones too.
func digests(key []KeyPart, r *Request) (all, tag digest) {
	var space [256]byte
	text := space[:0]
	identifying := 0
	for _, p := range key {
		if p.identifies() {
			text = appendPart(text, p, r)
			identifying++
		}
	}
	tag = sum(text)
	if identifying == len(key) {
		return tag, tag
	}
	for _, p := range key {
		if !p.identifies() {
			text = appendPart(text, p, r)
		}
	}
	if all = sum(text); identifying == 0 {
		tag = all
	}
	return all, tag
}

func sum(text []byte) digest {
	full := sha256.Sum256(text)
	return digest(full[:16])
}

// appendPart appends a part of the key with its kind, its name and its value. A
// missing value is replaced by the client's address, kind and all.
func appendPart(text []byte, p KeyPart, r *Request) []byte {
	value := p.value(r)
	if value == "" && p.fallsBack() {
		return appendAddr(text, r.bucket())
	}
	if p.Kind == KeyAccount {
		p.Name = r.device
	}
	return appendValue(text, p, value)
}

func (r *Request) bucket() netip.Addr {
	if r.Bucket.IsValid() {
		return r.Bucket
	}
	return r.Addr
}

// value is the part's value in a request; "" where it is missing, and for the
// address, which stands in for whatever is missing.
func (p KeyPart) value(r *Request) string {
	switch p.Kind {
	case KeyClient:
		return r.Client
	case KeyUser:
		return r.User
	case KeySession:
		if r.User == "" && !r.inspected {
			return "" // an anonymous session, of which a client can get any number
		}
		return r.Session
	case KeyRoute:
		return r.Route
	case KeyHost:
		return httpx.HostName(r.Host)
	case KeyMethod:
		return canonicalMethod(r.Method)
	case KeyHeader:
		return r.Header.Get(p.Name)
	case KeyCookie:
		return cookie(r.Header, p.Name)
	case KeyParam:
		return pathParam(r.Params, p.Name)
	case KeyQuery:
		return queryParam(r.Query, p.Name)
	case KeyAccount:
		return r.account
	}
	return ""
}

func appendValue(text []byte, p KeyPart, value string) []byte {
	text = append(text, byte(p.Kind))
	text = binary.AppendUvarint(text, uint64(len(p.Name)))
	text = append(text, p.Name...)
	text = binary.AppendUvarint(text, uint64(len(value)))
	return append(text, value...)
}

func appendAddr(text []byte, a netip.Addr) []byte {
	b := a.As16()
	text = append(text, byte(KeyIP), 0, byte(len(b)))
	return append(text, b[:]...)
}

// cookie returns the value of the first cookie of that name, or "".
func cookie(h http.Header, name string) string {
	for _, line := range h["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			if n, v, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && n == name {
				return v
			}
		}
	}
	return ""
}
