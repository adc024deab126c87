package server

// keySet is what the admin listener serves at /.well-known/jwks.json: the keys of
// the running policy's assertions, or none.
func (s *Server) keySet() []byte {
	if signer := s.current.Load().sessions.Signer(); signer != nil {
		return signer.JWKS()
	}
	return []byte(`{"keys":[]}`)
}
