package session

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// SignerOptions configures [NewSigner].
type SignerOptions struct {
	// PEM holds one or more Ed25519 private keys in PKCS#8 (openssl genpkey
	// -algorithm ed25519). The first signs, all are published: to rotate, add
	// the new one behind, put it first once app servers know it, and drop the
	// old one after TTL.
	PEM []byte
	// Issuer is the iss claim. Empty means "headgate".
	Issuer string
	// TTL is how long an assertion is valid. Zero means one minute.
	TTL time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Signer signs what the gateway says of a session, as a JWT (RFC 7519) with
// EdDSA (RFC 8037), so that an app server can tell the gateway from another
// client that reaches it. It is safe for concurrent use.
type Signer struct {
	key    ed25519.PrivateKey
	header string // of every JWT, encoded
	issuer string
	ttl    time.Duration
	now    func() time.Time
	jwks   []byte
}

// NewSigner returns a Signer, or what is wrong with the keys.
func NewSigner(o SignerOptions) (*Signer, error) {
	keys, err := parseKeys(o.PEM)
	if err != nil {
		return nil, fmt.Errorf("session assertion: %w", err)
	}
	if o.TTL < 0 {
		return nil, fmt.Errorf("session assertion: TTL is %v; give a positive duration, or zero for a minute", o.TTL)
	}
	s := &Signer{key: keys[0], issuer: o.Issuer, ttl: o.TTL, now: o.Now}
	orDefault(&s.ttl, DefaultAssertionTTL)
	if s.issuer == "" {
		s.issuer = "headgate"
	}
	if s.now == nil {
		s.now = time.Now
	}
	published := struct {
		Keys []jwk `json:"keys"`
	}{}
	for _, key := range keys {
		published.Keys = append(published.Keys, newJWK(key))
	}
	if s.jwks, err = json.Marshal(published); err != nil {
		return nil, fmt.Errorf("session assertion: %w", err)
	}
	header, err := json.Marshal(map[string]string{"alg": "EdDSA", "typ": "JWT", "kid": published.Keys[0].ID})
	if err != nil {
		return nil, fmt.Errorf("session assertion: %w", err)
	}
	s.header = encoding.EncodeToString(header)
	return s, nil
}

type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub,omitempty"` // the user; none in an anonymous session
	Session  string `json:"sid"`           // Session.Ref
	Audience string `json:"aud,omitempty"`
	Issued   int64  `json:"iat"`
	Expires  int64  `json:"exp"`
}

// Sign returns the value of [HeaderAssertion] for a session and the app servers
// it is meant for, usually their upstream's name.
func (s *Signer) Sign(session *Session, audience string) (string, error) {
	now := s.now()
	payload, err := json.Marshal(claims{
		Issuer: s.issuer, Subject: session.User, Session: session.Ref, Audience: audience,
		Issued: now.Unix(), Expires: now.Add(s.ttl).Unix(),
	})
	if err != nil {
		return "", fmt.Errorf("session assertion: %w", err)
	}
	signed := s.header + "." + encoding.EncodeToString(payload)
	return signed + "." + encoding.EncodeToString(ed25519.Sign(s.key, []byte(signed))), nil
}

// JWKS is the key set (RFC 7517) to verify assertions with. It must not be
// changed.
func (s *Signer) JWKS() []byte { return s.jwks }

// jwk is an Ed25519 public key as RFC 8037 section 2 writes it.
type jwk struct {
	Type      string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	ID        string `json:"kid"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
}

func newJWK(key ed25519.PrivateKey) jwk {
	x := encoding.EncodeToString(key.Public().(ed25519.PublicKey))
	// The ID is the key's thumbprint (RFC 7638): these members, in this order.
	thumbprint := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + x + `"}`))
	return jwk{Type: "OKP", Curve: "Ed25519", X: x, ID: encoding.EncodeToString(thumbprint[:]), Use: "sig", Algorithm: "EdDSA"}
}

func parseKeys(text []byte) (keys []ed25519.PrivateKey, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "PRIVATE KEY" {
			return nil, fmt.Errorf("the PEM holds a %s; give an unencrypted Ed25519 key in PKCS#8 (openssl genpkey -algorithm ed25519)", block.Type)
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		private, ok := key.(ed25519.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("the key is a %T; give an Ed25519 key (openssl genpkey -algorithm ed25519)", key)
		}
		keys = append(keys, private)
	}
	if len(keys) == 0 {
		return nil, errors.New("no key in PEM form; give an Ed25519 key (openssl genpkey -algorithm ed25519)")
	}
	return keys, nil
}
