package session

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/http"
	"time"

	"github.com/headgate/headgate/internal/httpx"
)

// maxPresented bounds the well-formed cookies of our name that are looked up for one request, in
// bytes of their values: as much as most servers take of one header line. Cookies that are not
// well-formed do not count, so that none of them can push out a live one.
const maxPresented = 8 << 10

const macLen = 43 // SHA-256 in base64url

// value is the cookie's value: the token, and its signature where there are
// secrets.
func (s *Settings) value(t token) string {
	text := t.text()
	if len(s.Secrets) == 0 {
		return text
	}
	mac := s.mac(s.Secrets[0], text)
	return text + "." + encoding.EncodeToString(mac[:])
}

func (s *Settings) mac(secret []byte, text string) (d digest) {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("headgate session cookie\x00" + text))
	h.Sum(d[:0])
	return d
}

// verify returns the token of a cookie's value. It costs no I/O: junk is
// refused here, before Redis is asked.
func (s *Settings) verify(value string) (token, bool) {
	if len(s.Secrets) == 0 {
		return parseToken(value)
	}
	if len(value) != tokenLen+1+macLen || value[tokenLen] != '.' {
		return token{}, false
	}
	var got digest
	if got.UnmarshalText([]byte(value[tokenLen+1:])) != nil {
		return token{}, false
	}
	for _, secret := range s.Secrets {
		want := s.mac(secret, value[:tokenLen])
		if hmac.Equal(got[:], want[:]) {
			return parseToken(value[:tokenLen])
		}
	}
	return token{}, false
}

// presented is a token that a request carries, and what Redis holds of it.
type presented struct {
	token token
	sum   digest
}

// candidates returns the well-formed tokens among the request's cookies, and
// whether any cookie has our name.
func (s *Settings) candidates(h http.Header) (named bool, found []presented) {
	left := maxPresented
	for value := range httpx.CookieValues(h["Cookie"], s.Cookie.Name) {
		named = true
		if len(value) > left {
			continue
		}
		if t, ok := s.verify(value); ok {
			left -= len(value)
			found = append(found, presented{t, t.sum()})
		}
	}
	return named, found
}

// CutCookie removes the session cookie, and no other, from a request's Cookie
// header. A caller that looks at cookies between Authorize and ForwardHeaders, as
// a cache does, calls it first: to it our cookie would be one of the app's own.
func (m *Manager) CutCookie(h http.Header) { httpx.CutCookie(h, m.set.Cookie.Name) }

// cookie returns the cookie that gives t to the client for as long as the
// session may last at most.
func (s *Settings) cookie(t token, left time.Duration) *http.Cookie {
	c := s.blank()
	c.Value = s.value(t)
	c.MaxAge = max(seconds(left), 1)
	return c
}

// cookieOf returns the cookie that gives t, which opens the session of r, to the client.
func (s *Settings) cookieOf(t token, r *record, now time.Time) *http.Cookie {
	c := s.cookie(t, s.longest(r, now))
	if r.Browser {
		c.MaxAge = 0 // no such attribute
	}
	return c
}

// seconds is a duration in seconds, rounded up.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// deletion returns the cookie that makes browsers forget ours: the same name,
// domain and path, already expired.
func (s *Settings) deletion() *http.Cookie {
	c := s.blank()
	c.MaxAge = -1
	c.Expires = time.Unix(1, 0)
	return c
}

func (s *Settings) blank() *http.Cookie {
	return &http.Cookie{
		Name:     s.Cookie.Name,
		Path:     s.Cookie.Path,
		Domain:   s.Cookie.Domain,
		SameSite: s.Cookie.SameSite.mode(),
		Secure:   !s.Cookie.Insecure,
		HttpOnly: true,

		Partitioned: s.Cookie.Partitioned,
	}
}
