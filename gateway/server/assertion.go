package server

import (
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/policies"
)

// newSigner returns what signs assertions, or nil where the policy wants none.
func newSigner(p *policies.Assertion, now func() time.Time) (*session.Signer, error) {
	if p == nil {
		return nil, nil
	}
	pem, err := os.ReadFile(p.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("session.assertion.key_file: %w", err)
	}
	return session.NewSigner(session.SignerOptions{PEM: pem, TTL: p.TTL, Now: now})
}

// vouch adds the signed assertion of a live session, for the app servers of
// the route's upstream unless the policy names another audience.
func (rt *route) vouch(h http.Header, x *exchange) {
	live := x.session.Session()
	if rt.gen.signer == nil || live == nil {
		return
	}
	audience := rt.gen.policy.Session.Assertion.Audience
	if audience == "" {
		audience = rt.policy.Upstream
	}
	token, err := rt.gen.signer.Sign(live, audience)
	if err != nil { // the claims are strings and numbers
		rt.server.log.Error("a session could not be asserted", "id", x.id, "error", err)
		return
	}
	h.Set(session.HeaderAssertion, token)
}

// keySet is what the admin listener serves at /.well-known/jwks.json: the keys of
// the running policy's assertions, or none.
func (s *Server) keySet() []byte {
	if signer := s.current.Load().signer; signer != nil {
		return signer.JWKS()
	}
	return []byte(`{"keys":[]}`)
}
