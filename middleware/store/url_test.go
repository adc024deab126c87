package store

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestURLs(t *testing.T) {
	type want struct {
		Addrs            []string
		Master           string
		Cluster, TLS     bool
		User, Password   string
		SentinelPassword string
		DB               int
	}
	for name, tc := range map[string]struct {
		url  string
		want want
	}{
		"one server":                 {"redis://h:1", want{Addrs: []string{"h:1"}}},
		"default port":               {"redis://h", want{Addrs: []string{"h:6379"}}},
		"password and database":      {"redis://u:p@h:1/3", want{Addrs: []string{"h:1"}, User: "u", Password: "p", DB: 3}},
		"TLS":                        {"rediss://h:1", want{Addrs: []string{"h:1"}, TLS: true}},
		"unix socket":                {"unix:///run/redis.sock", want{Addrs: []string{"/run/redis.sock"}}},
		"IPv6":                       {"redis://[::1]:1", want{Addrs: []string{"[::1]:1"}}},
		"cluster":                    {"redis+cluster://u:p@a:1,b,[::1]:3", want{Addrs: []string{"a:1", "b:6379", "[::1]:3"}, Cluster: true, User: "u", Password: "p"}},
		"cluster of one seed":        {"redis+cluster://a:1", want{Addrs: []string{"a:1"}, Cluster: true}},
		"TLS cluster":                {"rediss+cluster://a:1,b:2", want{Addrs: []string{"a:1", "b:2"}, Cluster: true, TLS: true}},
		"several URLs are a cluster": {"redis://a:1,redis://b:2", want{Addrs: []string{"a:1", "b:2"}, Cluster: true}},
		"commas are a cluster":       {"redis://a:1,b:2", want{Addrs: []string{"a:1", "b:2"}, Cluster: true}},
		"comma in a password":        {"redis://u:p,q@h:1", want{Addrs: []string{"h:1"}, User: "u", Password: "p,q"}},
		"URLs with a password each":  {"redis://u:p@a:1,redis://u:p@b:2", want{Addrs: []string{"a:1", "b:2"}, Cluster: true, User: "u", Password: "p"}},
		"a password for all":         {"redis://u:p@a:1,redis://b:2", want{Addrs: []string{"a:1", "b:2"}, Cluster: true, User: "u", Password: "p"}},
		"sentinel":                   {"redis+sentinel://:p@a:1,b:2/mymaster?db=2&sentinel_password=s", want{Addrs: []string{"a:1", "b:2"}, Master: "mymaster", Password: "p", SentinelPassword: "s", DB: 2}},
		"TLS sentinel":               {"rediss+sentinel://a:1/m", want{Addrs: []string{"a:1"}, Master: "m", TLS: true}},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := parseURL(tc.url)
			if err != nil {
				t.Fatal(err)
			}
			got := want{o.Addrs, o.MasterName, o.IsClusterMode, o.TLSConfig != nil, o.Username, o.Password, o.SentinelPassword, o.DB}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestBadURLsSayWhatIsWrongAndKeepTheirSecrets(t *testing.T) {
	for url, want := range map[string]string{
		"":                                    "empty",
		"localhost:6379":                      "scheme",
		"http://localhost":                    `"http"`,
		"redis+sentinel://a:1,b:2":            "the master",
		"redis+cluster://a:1,,b:2":            "empty",
		"redis+cluster://a:1/2":               "database 0",
		"redis://:hunter2@h:1/x":              "database",
		"redis://:hunter2@h:port":             "PORT",
		"redis+cluster://:hunter2@a:1,b:bad":  "HOST:PORT",
		"redis+cluster://:hunter2@a:1?no=1":   "no",
		"redis://:hunter2%zz@h:1":             "escape",
		"redis://:hunter2@a,redis://:other@b": "differ",
		"redis://h:1?max_retries=3":           "max_retries",
	} {
		_, err := Open(Options{URL: url})
		if err == nil {
			t.Errorf("%q is accepted", url)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q does not mention %q", url, err, want)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}

func FuzzURL(f *testing.F) {
	f.Add("redis+sentinel://:p@a:1,b:2/m?db=1")
	f.Add("redis://a:1,redis://b:2")
	f.Fuzz(func(t *testing.T, url string) {
		o, err := parseURL(url)
		if err == nil && len(o.Addrs) == 0 {
			t.Errorf("%q is accepted with no address", url)
		}
	})
}
