package server_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/redistest"
)

// documentedACL is the rule of docs/redis.md.
func documentedACL(t *testing.T) []any {
	t.Helper()
	text, err := os.ReadFile("../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^ACL SETUSER headgate .*$`).FindString(string(text))
	var args []any
	for word := range strings.FieldsSeq(strings.Replace(line, "PASSWORD", "pw", 1)) {
		args = append(args, word)
	}
	if len(args) < 10 {
		t.Fatalf("docs/redis.md has no ACL: %q", line)
	}
	return args
}

// allFeatures uses all that asks Redis.
func (g *gateway) allFeatures() {
	t := g.t
	t.Helper()
	g.well()
	cookie := g.login("42")
	for range 60 { // over the limit by user, and what is counted by route
		g.do("GET", "/mine/x", "Cookie", cookie)
		g.do("GET", "/counted/x", "Cookie", cookie)
	}
	g.cached("/top/1")
	if a := g.do("POST", "/edit"); a.StatusCode != 200 {
		t.Errorf("a purge: %d %s", a.StatusCode, a.text)
	}
	g.cached("/top/1")
	for _, body := range []string{`{"network": "192.0.2.0/24"}`, `{"network": "192.0.2.1", "for": "1h"}`} {
		if a := g.adminSend("POST", "/blocks", strings.NewReader(body)); a.StatusCode != 200 {
			t.Errorf("a block: %d %s", a.StatusCode, a.text)
		}
	}
	for _, ask := range [][2]string{
		{"GET", "/blocks"}, {"DELETE", "/blocks/192.0.2.0%2F24"}, {"GET", "/sessions?user=42"}, {"GET", "/limits"}, {"GET", "/limits/per-user?key=42"}, {"DELETE", "/limits/per-user?key=42"}, {"DELETE", "/sessions?user=42"},
	} {
		if a := g.admin(ask[0], ask[1]); a.StatusCode/100 != 2 {
			t.Errorf("%s %s: %d %s", ask[0], ask[1], a.StatusCode, a.text)
		}
	}
	if a := g.do("GET", "/private/x", "Cookie", cookie); a.StatusCode != 401 {
		t.Errorf("the session that was ended: %d", a.StatusCode)
	}
}

// refused is what a server has denied the user, by its own account.
func refused(t *testing.T, s *redistest.Server) string {
	t.Helper()
	entries, err := s.Client.ACLLog(t.Context(), 100).Result()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Object, "client|setinfo") {
			all = append(all, e.Reason+" "+e.Object)
		}
	}
	return strings.Join(all, ", ")
}

func TestTheDocumentedACLIsEnough(t *testing.T) {
	t.Parallel()
	acl := documentedACL(t)
	t.Run("one server", func(t *testing.T) {
		t.Parallel()
		redis := redistest.Start(t)
		redistest.OneConnection(t, redis.Client)(acl...)
		g := start(t, features(t, redistest.AsUser(t, redis.URL, "headgate", "pw")+"/1", "cache: {}"))
		g.allFeatures()
		if text := refused(t, redis); text != "" {
			t.Errorf("refused: %s", text)
		}
	})
	t.Run("Cluster", func(t *testing.T) {
		t.Parallel()
		cluster := redistest.StartCluster(t)
		for _, n := range cluster.Nodes {
			redistest.OneConnection(t, n.Client)(acl...)
		}
		g := start(t, features(t, strings.Replace(cluster.URL, "redis+cluster://", "redis+cluster://headgate:pw@", 1), "cache: {}"))
		g.allFeatures()
		for _, n := range cluster.Nodes {
			if text := refused(t, n); text != "" {
				t.Errorf("refused: %s", text)
			}
		}
	})
}
