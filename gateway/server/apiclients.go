package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
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
// cuts it from the headers: it is between the client and the gateway. What is
// not a key of ours is the app's, and stays.
//
// The lookup is by digest, so its timing tells nothing of the keys; the
// comparison at the end is in constant time all the same.
func (a apiClients) identify(h http.Header) *apiClient {
	if len(a.byDigest) == 0 {
		return nil
	}
	if keys := h["X-Api-Key"]; len(keys) == 1 {
		if c := a.find(keys[0]); c != nil {
			delete(h, "X-Api-Key")
			return c
		}
	}
	if values := h["Authorization"]; len(values) == 1 {
		scheme, token, _ := strings.Cut(values[0], " ")
		if strings.EqualFold(scheme, "Bearer") {
			if c := a.find(strings.TrimSpace(token)); c != nil {
				delete(h, "Authorization")
				return c
			}
		}
	}
	return nil
}

func (a apiClients) find(key string) *apiClient {
	digest := sha256.Sum256([]byte(key))
	c := a.byDigest[digest]
	if c == nil || subtle.ConstantTimeCompare(c.digest[:], digest[:]) != 1 {
		return nil
	}
	return c
}
