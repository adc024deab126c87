package server

import (
	"fmt"
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

// keySet is what the admin listener serves at /.well-known/jwks.json: the keys of
// the running policy's assertions, or none.
func (s *Server) keySet() []byte {
	if signer := s.current.Load().signer; signer != nil {
		return signer.JWKS()
	}
	return []byte(`{"keys":[]}`)
}
