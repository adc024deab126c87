package session_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/session"
)

func pemOf(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// verify does what an app server does: find the key, check the signature, read
// the claims.
func verify(t *testing.T, jwks []byte, token string) (claims map[string]any, ok bool) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("no JWT: %q", token)
	}
	part := func(i int) []byte {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	var header struct{ Alg, Kid, Typ string }
	var set struct {
		Keys []struct{ Kty, Crv, X, Kid, Use, Alg string }
	}
	if err := json.Unmarshal(part(0), &header); err != nil || header.Alg != "EdDSA" || header.Typ != "JWT" {
		t.Fatalf("header %s", part(0))
	}
	if err := json.Unmarshal(jwks, &set); err != nil {
		t.Fatal(err)
	}
	for _, key := range set.Keys {
		x, err := base64.RawURLEncoding.DecodeString(key.X)
		if err != nil || key.Kty != "OKP" || key.Crv != "Ed25519" || key.Use != "sig" {
			t.Fatalf("key %+v", key)
		}
		if key.Kid == header.Kid {
			ok = ed25519.Verify(x, []byte(parts[0]+"."+parts[1]), part(2))
		}
	}
	if err := json.Unmarshal(part(1), &claims); err != nil {
		t.Fatal(err)
	}
	return claims, ok
}

func TestAnAppServerCanVerifyWhatTheGatewaySays(t *testing.T) {
	t.Parallel()
	c := newClock()
	key, former := newKey(t), newKey(t)
	signer, err := session.NewSigner(session.SignerOptions{PEM: append(pemOf(t, key), pemOf(t, former)...), Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	m := newManager(t, session.Options{Now: c.Now})
	var b browser
	b.login(t, m, "42")
	s := b.get(t, m).session()
	token, err := signer.Sign(s, "shop")
	if err != nil {
		t.Fatal(err)
	}
	claims, ok := verify(t, signer.JWKS(), token)
	if !ok {
		t.Fatal("the signature does not verify")
	}
	now := float64(c.Now().Unix())
	for name, want := range map[string]any{"iss": "headgate", "sub": "42", "sid": s.Ref, "aud": "shop", "iat": now, "exp": now + 60} {
		if claims[name] != want {
			t.Errorf("%s is %v, want %v", name, claims[name], want)
		}
	}
	if strings.Contains(token, b.value()) || bytes.Contains(signer.JWKS(), []byte(`"d"`)) {
		t.Error("a secret is published")
	}

	// After a rotation of the keys, an assertion signed before still verifies.
	rotated, err := session.NewSigner(session.SignerOptions{PEM: append(pemOf(t, former), pemOf(t, key)...), Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := verify(t, rotated.JWKS(), token); !ok {
		t.Error("the former key is not published")
	}
	stranger, err := session.NewSigner(session.SignerOptions{PEM: pemOf(t, newKey(t)), TTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := verify(t, stranger.JWKS(), token); ok {
		t.Error("a stranger's key verifies it")
	}
}

func TestUnsuitableKeysAreRefused(t *testing.T) {
	t.Parallel()
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]session.SignerOptions{
		"nothing":         {},
		"no PEM":          {PEM: []byte("secret")},
		"another kind":    {PEM: pemOf(t, other)},
		"another block":   {PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})},
		"damaged":         {PEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})},
		"a negative time": {PEM: pemOf(t, newKey(t)), TTL: -time.Second},
	} {
		if _, err := session.NewSigner(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
