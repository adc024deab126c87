package server_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/policies"
	"pgregory.net/rapid"
)

// What `headgate check` accepts, `headgate serve` starts: policies are made of keys whose values
// are sometimes mistakes, and whatever loads must make a server.
func TestWhatCheckAcceptsServeStarts(t *testing.T) {
	t.Parallel()
	env := checkedFiles(t)
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		odd, limits := rapid.IntRange(0, 2).Draw(t, "mistakes"), rapid.SampledFrom([]int{0, 0, 0, ratelimit.MaxLimits}).Draw(t, "limits")
		text := policyWriter{t: t, limits: limits, pick: func(path string, values []string) (string, bool) {
			if !rapid.Bool().Draw(t, path) {
				return "", false
			}
			if odd > 0 && rapid.IntRange(0, 24).Draw(t, "odd") == 0 {
				odd--
				return rapid.SampledFrom(slices.Concat(values, blanks)).Draw(t, "value"), true
			}
			return values[0], true
		}}.policy()
		if found := checkAndServe(t, env, text); !found.HasErrors() {
			accepted++
		}
	})
	if accepted == 0 {
		t.Error("no policy was accepted, so nothing was tried")
	}
}

// blanks are the ways of writing a key and no value.
var blanks = []string{`""`, `" "`, "null", `"${EMPTY}"`, "[]", `[""]`, "[null]", "{}"}

// Each key of a policy is written with each value that says nothing by itself, and with "" among all the others.
// A key that must be there is then missing: the error names it, at its place.
func TestEachKeyMayBeWrittenEmpty(t *testing.T) {
	t.Parallel()
	env := checkedFiles(t)
	for _, crowded := range []bool{false, true} {
		text := policyWriter{t: t, pick: func(_ string, values []string) (string, bool) { return values[0], crowded }}.policy()
		if policy, found := policies.Parse("headgate.yaml", []byte(text), policies.LoadOptions{CheckFiles: true, LookupEnv: env}); policy == nil {
			t.Fatalf("a policy without mistakes is refused: %v\n%s", found, text)
		}
	}
	for _, target := range policyKeys() {
		for i, blank := range blanks {
			emptied(t, env, target, blank, false)
			if i == 0 {
				emptied(t, env, target, blank, true)
			}
		}
	}
}

// emptied tries a policy in which one key is blank, by itself or among all others.
func emptied(t *testing.T, env func(string) (string, bool), target policyKey, blank string, crowded bool) {
	t.Helper()
	text := policyWriter{t: t, without: target.without, pick: func(path string, values []string) (string, bool) {
		switch {
		case path == target.path:
			return blank, true
		case strings.HasPrefix(target.path, path+"."):
			return values[0], true
		}
		return values[0], crowded
	}}.policy()
	if !strings.Contains(text, target.key+": "+blank) {
		t.Fatalf("%s is not written in\n%s", target.path, text)
	}
	found := checkAndServe(t, env, text)
	missing := func(d policies.Diagnostic) bool {
		return strings.HasSuffix(d.Message, " has no "+target.key) && d.Column > 1 && d.Mend != ""
	}
	if target.required && !slices.ContainsFunc(found, missing) {
		t.Errorf("%s: %s is not said to be missing: %v", target.path, blank, found)
	}
}

// checkAndServe makes and starts a server of a policy that check accepts, and returns what check finds.
func checkAndServe(t fataler, env func(string) (string, bool), text string) policies.Diagnostics {
	policy, found := policies.Parse("headgate.yaml", []byte(text), policies.LoadOptions{CheckFiles: true, LookupEnv: env})
	if policy == nil {
		if !found.HasErrors() {
			t.Fatalf("refused without an error:\n%s", text)
		}
		return found
	}
	s, err := server.New(server.Options{Policy: policy, Logger: slog.New(slog.DiscardHandler), AccessLog: io.Discard})
	if err != nil {
		t.Fatalf("check accepts what serve refuses: %v\n%s", err, text)
	}
	if err := s.Start(); err != nil {
		t.Fatalf("check accepts what serve can't start: %v\n%s", err, text)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // there is no request to wait for
	_ = s.Shutdown(ctx)
	return found
}

// checkedFiles makes the files that the policies name, as variables.
func checkedFiles(t *testing.T) func(string) (string, bool) {
	t.Helper()
	pair, redis := newKeyPair(t), "rediss://127.0.0.1:1" // the gateway serves without its Redis, and nothing listens there
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, text []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	variables := map[string]string{
		"EMPTY":     "",
		"REDIS_URL": redis,
		"CERT":      pair.cert,
		"KEY":       pair.key,
		"SIGNER":    file("signer.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"SECRET":    file("secret", []byte("0123456789abcdef0123456789abcdef\n")),
		"REDIS":     file("redis", []byte(redis+"\n")),
	}
	return func(name string) (string, bool) {
		value, ok := variables[name]
		return value, ok
	}
}
