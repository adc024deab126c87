package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"github.com/headgate/headgate/policies"
)

// apiClient is the owner of a known API key.
type apiClient struct {
	name, plan string
	digest     [sha256.Size]byte
}

// apiClients finds clients by their API keys.
type apiClients struct {
	byDigest map[[sha256.Size]byte]*apiClient
}

func newAPIClients(clients map[string]*policies.Client) apiClients {
	a := apiClients{byDigest: map[[sha256.Size]byte]*apiClient{}}
	for name, c := range clients {
		for _, sum := range c.KeySHA256 {
			client := &apiClient{name: name, plan: c.Plan}
			if _, err := hex.Decode(client.digest[:], []byte(sum)); err == nil { // loading has checked it
				a.byDigest[client.digest] = client
			}
		}
	}
	return a
}

// identify returns whose key the request carries, if it is a known one, and
// cuts it from the headers wherever it stands: it is between the client and the
// gateway. What is not a key of ours is the app's, and stays.
//
// The lookup is by digest, so its timing tells nothing of the keys; the
// comparison at the end is in constant time all the same.
func (a apiClients) identify(h http.Header) *apiClient {
	if len(a.byDigest) == 0 {
		return nil
	}
	caller := a.take(h, "X-Api-Key", func(line string) string { return line })
	if c := a.take(h, "Authorization", bearerToken); caller == nil {
		caller = c
	}
	return caller
}

// take cuts the lines of a header that hold a known key, and returns the owner
// of the first.
func (a apiClients) take(h http.Header, name string, key func(line string) string) (caller *apiClient) {
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

func (a apiClients) find(key string) *apiClient {
	digest := sha256.Sum256([]byte(key))
	c := a.byDigest[digest]
	if c == nil || subtle.ConstantTimeCompare(c.digest[:], digest[:]) != 1 {
		return nil
	}
	return c
}
