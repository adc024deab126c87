package pipeline

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"github.com/headgate/headgate/policies"
)

// APIClient is the owner of a known API key.
type APIClient struct {
	Name, Plan string // Plan is empty where the client is on none
	digest     [sha256.Size]byte
}

// identify finds out whose API key the request carries.
func identify(r *Request) *Answer {
	r.Client = r.backends.Identify(r)
	return nil
}

func (b liveBackends) Identify(r *Request) *APIClient { return b.clients.take(r.Header) }

func (b liveBackends) KeyOwner(r *Request) *APIClient { return b.clients.look(r.Header) }

// apiClients finds clients by their API keys.
type apiClients struct {
	byDigest map[[sha256.Size]byte]*APIClient
}

func newAPIClients(clients map[string]*policies.Client) apiClients {
	a := apiClients{byDigest: map[[sha256.Size]byte]*APIClient{}}
	for name, c := range clients {
		for _, sum := range c.KeySHA256 {
			client := &APIClient{Name: name, Plan: c.Plan}
			if _, err := hex.Decode(client.digest[:], []byte(sum)); err == nil { // loading has checked it
				a.byDigest[client.digest] = client
			}
		}
	}
	return a
}

// take returns whose key the request carries, if it is a known one, and cuts it from
// the headers wherever it stands: it is between the client and the gateway. A key that
// no client of the policy has is the app's, and stays.
//
// The lookup is by digest, so its timing tells nothing of the keys; the
// comparison at the end is in constant time all the same.
func (a apiClients) take(h http.Header) *APIClient {
	if len(a.byDigest) == 0 {
		return nil
	}
	caller := a.takeFrom(h, "X-Api-Key", func(line string) string { return line })
	if c := a.takeFrom(h, "Authorization", bearerToken); caller == nil {
		caller = c
	}
	return caller
}

// look returns whom take would return, and cuts nothing.
func (a apiClients) look(h http.Header) *APIClient {
	if len(a.byDigest) == 0 {
		return nil
	}
	for _, line := range h["X-Api-Key"] {
		if c := a.find(line); c != nil {
			return c
		}
	}
	for _, line := range h["Authorization"] {
		if c := a.find(bearerToken(line)); c != nil {
			return c
		}
	}
	return nil
}

// takeFrom cuts the lines of a header that hold a known key, and returns the owner of
// the first.
func (a apiClients) takeFrom(h http.Header, name string, key func(line string) string) (caller *APIClient) {
	lines := h[name]
	for i := 0; i < len(lines); {
		c := a.find(key(lines[i]))
		if c == nil {
			i++
			continue
		}
		if caller == nil {
			caller = c
		}
		lines = slices.Delete(slices.Clone(lines), i, i+1)
		if len(lines) == 0 {
			delete(h, name)
		} else {
			h[name] = lines
		}
	}
	return caller
}

// bearerToken returns the token of an Authorization line (RFC 6750 section 2.1), or "".
func bearerToken(line string) string {
	scheme, token, _ := strings.Cut(line, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

func (a apiClients) find(key string) *APIClient {
	digest := sha256.Sum256([]byte(key))
	c := a.byDigest[digest]
	if c == nil || subtle.ConstantTimeCompare(c.digest[:], digest[:]) != 1 {
		return nil
	}
	return c
}
