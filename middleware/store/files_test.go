package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/store"
)

func write(t testing.TB, file, text string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func counts(t *testing.T, r *store.Redis) {
	t.Helper()
	if err := r.Do(t.Context(), increment.Call([]string{"n"})); err != nil {
		t.Fatal(err)
	}
}

// Another password takes no restart: connections stay, and new ones are made with what the file says.
func TestAPasswordFileIsFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, options := range map[string]func(s *redistest.Server, password string) store.Options{
		"password_file": func(s *redistest.Server, password string) store.Options {
			return store.Options{URL: "redis://" + s.Addr, Access: store.Access{PasswordFile: write(t, filepath.Join(dir, "password"), password+"\n")}}
		},
		"username and password_file": func(s *redistest.Server, password string) store.Options {
			return store.Options{URL: "redis://" + s.Addr, Access: store.Access{Username: "default", PasswordFile: write(t, filepath.Join(dir, "password2"), password+"\n")}}
		},
		"url_file": func(s *redistest.Server, password string) store.Options {
			return store.Options{URLFile: write(t, filepath.Join(dir, "url"), "redis://:"+password+"@"+s.Addr+"\n")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t, "--requirepass", "old")
			do := redistest.OneConnection(t, server.Client)
			o := options(server, "old")
			log := new(heard)
			o.Timeout, o.Logger = 10*time.Second, logger(log)
			r := open(t, o)
			counts(t, r)

			do("config", "set", "requirepass", "new")
			counts(t, r) // over the connection that there is
			do("client", "kill", "type", "normal")
			eventually(t, "the old password is refused", func() bool { _ = r.Do(t.Context(), cmd("get", "n")); return !r.Available() })
			options(server, "new")
			recovers(t, r)
			if text := log.String(); strings.Contains(text, "can't be used") {
				t.Errorf("the log:\n%s", text)
			}
		})
	}
}

// What url_file says while it is being replaced is not used; another server is.
func TestAURLFileIsFollowed(t *testing.T) {
	t.Parallel()
	first, second := redistest.Start(t), redistest.Start(t)
	file := write(t, filepath.Join(t.TempDir(), "url"), first.URL)
	log := new(heard)
	r := open(t, store.Options{URLFile: file, Timeout: 10 * time.Second, Logger: logger(log)})
	counts(t, r)
	write(t, file, "")
	redistest.OneConnection(t, first.Client)("client", "kill", "type", "normal")
	recovers(t, r)
	eventually(t, "it is said", func() bool { return log.has("url_file") })
	write(t, file, second.URL+"/7")
	redistest.OneConnection(t, first.Client)("client", "kill", "type", "normal")
	recovers(t, r)
	eventually(t, "a database takes a restart", func() bool { return log.has("restart the gateway") })
	write(t, file, second.URL)
	first.Kill()
	recovers(t, r)
	if n := second.Client.Get(t.Context(), "recovered").Val(); n == "" {
		t.Error("the second server has nothing")
	}
}

func TestTLSWithAPrivateAuthorityAndClientCertificates(t *testing.T) {
	t.Parallel()
	authority, other := redistest.NewAuthority(t), redistest.NewAuthority(t)
	_, addr := redistest.StartTLS(t, authority)
	cert, key := authority.Issue(t, "gate")
	strangeCert, strangeKey := other.Issue(t, "gate")
	whole := store.TLS{CAFile: authority.File, CertFile: cert, KeyFile: key}
	for name, tc := range map[string]struct {
		tls  store.TLS
		want string
	}{
		"all":                 {whole, ""},
		"another name":        {store.TLS{CAFile: authority.File, CertFile: cert, KeyFile: key, ServerName: "redis.test"}, ""},
		"a wrong name":        {store.TLS{CAFile: authority.File, CertFile: cert, KeyFile: key, ServerName: "other.test"}, "other.test"},
		"no authority":        {store.TLS{CertFile: cert, KeyFile: key}, "x509"},
		"no certificate":      {store.TLS{CAFile: authority.File}, "certificate"},
		"another's":           {store.TLS{CAFile: authority.File, CertFile: strangeCert, KeyFile: strangeKey}, ""},
		"another's authority": {store.TLS{CAFile: other.File, CertFile: cert, KeyFile: key}, "x509"},
	} {
		t.Run(name, func(t *testing.T) {
			log := new(heard)
			r := open(t, store.Options{URL: "rediss://" + addr, Access: store.Access{TLS: tc.tls}, Timeout: 10 * time.Second, Logger: logger(log)})
			if name == "all" || name == "another name" {
				counts(t, r)
				return
			}
			eventually(t, "it is known", func() bool { return !r.Available() && log.has(tc.want) })
		})
	}

	t.Run("followed", func(t *testing.T) {
		dir := t.TempDir()
		copied := func(from, to string) string {
			text, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			return write(t, filepath.Join(dir, to), string(text))
		}
		followed := store.TLS{CAFile: authority.File, CertFile: copied(strangeCert, "cert"), KeyFile: copied(strangeKey, "key")}
		r := open(t, store.Options{URL: "rediss://" + addr, Access: store.Access{TLS: followed}, Timeout: 10 * time.Second})
		eventually(t, "it is away", func() bool { return !r.Available() })
		copied(cert, "cert")
		copied(key, "key")
		recovers(t, r)
	})
}
