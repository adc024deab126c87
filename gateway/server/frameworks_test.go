package server_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What docs/sessions.md tells users of a framework to write is run as it stands there, behind the gateway. Rails,
// Laravel and Spring are not at hand where these tests run.
func TestWhatAppsDoForSessionsWorksAsTheDocsHaveIt(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/sessions.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		name, language string
		run            func(t testing.TB, snippet string) (addr string)
	}{
		{"Express", "js", func(t testing.TB, snippet string) string {
			node := program(t, "node")
			modules := nodeModules(t, node)
			return runOrigin(t, "env", func(dir, port string) []string {
				return []string{"NODE_PATH=" + modules, node, framework(t, dir, "express.js", snippet), port}
			})
		}},
		{"Django", "python", func(t testing.TB, snippet string) string {
			python := pythonWithDjango(t)
			return runOrigin(t, python, func(dir, port string) []string { return []string{framework(t, dir, "shop.py", snippet), port} })
		}},
		{"Go", "go", func(t testing.TB, snippet string) string {
			dir := t.TempDir()
			app := filepath.Join(dir, "app")
			source := strings.TrimSuffix(framework(t, dir, "main.go.txt", snippet), ".txt")
			if err := os.Rename(source+".txt", source); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("go", "build", "-o", app, source).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			return runOrigin(t, app, func(_, port string) []string { return []string{port} })
		}},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			_, rest, ok := strings.Cut(string(text), "\n## "+f.name+"\n\n```"+f.language+"\n")
			snippet, _, closed := strings.Cut(rest, "```")
			if !ok || !closed {
				t.Fatalf("docs/sessions.md has no %s under %s", f.language, f.name)
			}
			g := start(t, fmt.Sprintf(withSessionsInMemory, f.run(t, snippet)))
			login := func(password string) *answer {
				return g.send("POST", "/login", strings.NewReader("name=alice&password="+password), "Content-Type", "application/x-www-form-urlencoded")
			}
			if a := login("wrong"); a.StatusCode != 401 || a.Header.Get("Set-Cookie") != "" {
				t.Errorf("the wrong password: %d %v", a.StatusCode, a.Header)
			}
			a := login("right")
			if a.StatusCode/100 != 3 || a.Header.Get("Location") != "/" || a.Header.Get("Headgate-Login") != "" {
				t.Fatalf("the right password: %d %v %s", a.StatusCode, a.Header, a.text)
			}
			cookie, err := http.ParseSetCookie(a.Header.Get("Set-Cookie"))
			if err != nil {
				t.Fatal(err)
			}
			for header, want := range map[string]string{cookie.Name + "=" + cookie.Value: "user 42", "": "user none"} {
				if a := g.do("GET", "/", "Cookie", header, "Headgate-User", "7"); a.StatusCode != 200 || a.text != want {
					t.Errorf("with the cookie %q: %d %q, want %q", header, a.StatusCode, a.text, want)
				}
			}
		})
	}
}

const withSessionsInMemory = `
upstreams: {app: {servers: ["http://%s"]}}
session: {cookie: {secure: false}}
defaults: {upstream: app}
routes:
  - {name: login, path: /login, methods: [POST], session: login}
  - {name: rest, path: /*, session: optional}
`

// framework writes a program around a snippet, and returns its file.
func framework(t testing.TB, dir, name, snippet string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/frameworks", name))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "@SNIPPET@", snippet, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// nodeModules returns the folder in which Express is, and skips the test where it is in none.
func nodeModules(t testing.TB, node string) string {
	t.Helper()
	cache, _ := os.UserCacheDir()
	for _, folder := range []string{filepath.Join(cache, "headgate", "node", "node_modules"), "/usr/share/nodejs"} {
		cmd := exec.Command(node, "-e", "require('express')")
		cmd.Env = append(os.Environ(), "NODE_PATH="+folder)
		if cmd.Run() == nil {
			return folder
		}
	}
	t.Skip("Express is missing; `sh tools/install-test-servers` installs it where there is npm")
	return ""
}

func pythonWithDjango(t testing.TB) string {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import django").Run() == nil {
			return python
		}
	}
	t.Skip("Django is missing; `sh tools/install-test-servers` installs it where there is apt")
	return ""
}
