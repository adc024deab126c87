package session

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
)

const (
	handleBytes = 18
	secretBytes = 32
	handleLen   = 24 // handleBytes in base64url
	secretLen   = 43 // secretBytes in base64url
	tokenLen    = handleLen + secretLen
)

// encoding is strict, so that one token has one spelling.
var encoding = base64.RawURLEncoding.Strict()

// token is what a cookie carries: a handle that names the session for all its
// life, and a 256-bit secret that every renewal replaces.
//
// Because renewed secrets keep their handle, a session has one record in Redis
// and each change of it, a renewal too, is one atomic step on one key. The
// handle alone opens nothing: it is what [Session.Ref] shows to app servers and
// operators. Redis holds the SHA-256 of the whole token and never the secret.
type token struct {
	handle string
	secret [secretBytes]byte
}

// newToken returns a token for a session that does not exist yet.
func newToken() token { return tokenFor(newHandle()) }

func newHandle() string {
	var b [handleBytes]byte
	rand.Read(b[:])
	return encoding.EncodeToString(b[:])
}

func tokenFor(handle string) token {
	t := token{handle: handle}
	rand.Read(t.secret[:])
	return t
}

// parseToken accepts exactly what text writes.
func parseToken(s string) (t token, ok bool) {
	if len(s) != tokenLen {
		return t, false
	}
	if t.handle, ok = parseHandle(s[:handleLen]); !ok {
		return t, false
	}
	n, err := encoding.Decode(t.secret[:], []byte(s[handleLen:]))
	return t, err == nil && n == secretBytes
}

func parseHandle(s string) (handle string, ok bool) {
	var b [handleBytes]byte
	if len(s) != handleLen {
		return "", false
	}
	n, err := encoding.Decode(b[:], []byte(s))
	return s, err == nil && n == handleBytes
}

// text is the token as the cookie carries it. There is deliberately no String
// method: a token must not reach a log by accident.
func (t token) text() string {
	return t.handle + encoding.EncodeToString(t.secret[:])
}

// sum is what Redis holds of the token.
func (t token) sum() digest { return sha256.Sum256([]byte(t.text())) }

// successor derives the token that replaces t, from t's secret and a nonce that
// only the session's record holds.
//
// All the requests that meet a due rotation in parallel, and those that retry
// because an answer was lost, thus hand out the same new token. The record has
// the nonce but no secret, a client the secret but no nonce: neither makes the
// successor alone.
func (t token) successor(nonce digest) token {
	mac := hmac.New(sha256.New, nonce[:])
	mac.Write([]byte("headgate session successor\x00" + t.text()))
	next := token{handle: t.handle}
	mac.Sum(next.secret[:0])
	return next
}

// digest is 32 bytes that travel as base64url in JSON.
type digest [sha256.Size]byte

func newNonce() (d digest) {
	rand.Read(d[:])
	return d
}

func (d digest) MarshalText() ([]byte, error) {
	return encoding.AppendEncode(nil, d[:]), nil
}

func (d *digest) UnmarshalText(text []byte) error {
	if encoding.DecodedLen(len(text)) != len(d) {
		return base64.CorruptInputError(0)
	}
	_, err := encoding.Decode(d[:], text)
	return err
}
