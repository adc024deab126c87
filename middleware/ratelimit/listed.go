package ratelimit

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"
	"unicode"
)

// listedValue is a value of a key as the lists of denied keys keep it: an operator can tell whom it means, and
// reads no secret.
type listedValue struct {
	addr    netip.Addr // the client's, where that is the value
	instead bool       // the address stands in for a value that is missing
	text    string
}

// String returns the value as [Limit.RequestFor] takes it, unless it is masked.
func (v listedValue) String() string {
	switch {
	case v.instead:
		return "ip:" + v.addr.String()
	case v.addr.IsValid():
		return v.addr.String()
	}
	return v.text
}

// appendListed appends the values that a request has for a limit's key.
func appendListed(to []listedValue, key []KeyPart, r *Request) []listedValue {
	for _, p := range key {
		to = append(to, p.listed(r))
	}
	return to
}

// listed returns the part's value in full where it names a person, a program, or something of the policy: addresses,
// clients, users, accounts, sessions by their reference, routes, hosts. What else a client sends may be a secret.
func (p KeyPart) listed(r *Request) listedValue {
	if p.Kind == KeyIP {
		return listedValue{addr: r.bucket()}
	}
	value := p.value(r)
	if value == "" && p.fallsBack() {
		return listedValue{addr: r.bucket(), instead: true}
	}
	switch p.Kind {
	case KeyAccount:
		value = p.shown(r) // with the device that knows the account
		fallthrough
	case KeyClient, KeyUser, KeySession, KeyRoute, KeyHost, KeyMethod:
		if len(value) > maxListed {
			return listedValue{text: mask(value, maxListed)}
		}
		if p.Kind == KeyHost {
			value = strings.Clone(value) // or the list would keep the request's header
		}
		return listedValue{text: value}
	}
	return listedValue{text: mask(value, shownOfSecret)}
}

const (
	maxListed     = 100 // bytes of a value that is shown in full, and characters of a longer one
	shownOfSecret = 4   // characters
	maskHash      = 4   // bytes
)

// mask returns the first characters of a value, a third of it at most, and a hash by which an operator who has
// the value can recognise it.
func mask(value string, show int) string {
	var b strings.Builder
	show = min(show, len(value)/3)
	for _, c := range value {
		if show--; show < 0 {
			break
		}
		if !unicode.IsPrint(c) || unicode.IsSpace(c) {
			c = '.'
		}
		b.WriteRune(c)
	}
	sum := sha256.Sum256([]byte(value))
	return b.String() + "~" + hex.EncodeToString(sum[:maskHash])
}

// IsMasked reports whether a value looks like one that a list of denied keys shows in part: see [DeniedKey].
func IsMasked(s string) bool {
	at := len(s) - 2*maskHash - 1
	if at < 0 || s[at] != '~' {
		return false
	}
	_, err := hex.DecodeString(s[at+1:])
	return err == nil
}
