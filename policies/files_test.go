package policies_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/headgate/headgate/policies"
)

func TestFilesAreCheckedWhereThatIsAskedFor(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"p.yaml": `version: 1
server: {access_log: missing/access.log, spool_dir: missing, tls: {cert_file: missing.pem, key_file: text.pem}}
session: {assertion: {key_file: text.pem}}
upstreams:
  a: {servers: [https://a], tls: {ca_file: missing.pem}}
  b: {servers: [https://b], tls: {ca_file: text.pem}}
routes: [{path: /a, upstream: a}, {path: /b, upstream: b}]
`,
		"pair.yaml": `version: 1
server: {access_log: ., tls: {cert_file: text.pem, key_file: text.pem}}
routes: [{path: /a, respond: {}}]
`,
		"text.pem": "no PEM",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, found := policies.Load("p.yaml", policies.LoadOptions{}); len(found) > 0 {
		t.Errorf("not asked for: %s", found)
	}
	var got []string
	for _, file := range []string{"p.yaml", "pair.yaml"} {
		_, found := policies.Load(file, policies.LoadOptions{CheckFiles: true})
		for _, d := range found {
			got = append(got, d.String())
		}
	}
	const mend = "; check its name and permissions; a relative path starts at the policy file"
	want := []string{
		`p.yaml:2:22: can't write the access log: stat missing: no such file or directory; make the folder, or name another`,
		`p.yaml:2:53: warning: can't make a file in "missing": no such file or directory; make the folder, or name another; as it is, slow clients hold app servers' connections while bodies do not fit into memory`,
		`p.yaml:2:79: can't read the file: open missing.pem: no such file or directory` + mend,
		`p.yaml:3:33: "text.pem" can't sign: session assertion: no key in PEM form; give an Ed25519 key (openssl genpkey -algorithm ed25519); make one with: openssl genpkey -algorithm ed25519`,
		`p.yaml:5:44: can't read the file: open missing.pem: no such file or directory` + mend,
		`p.yaml:6:44: "text.pem" holds no certificate; name a file of certificates in PEM form`,
	}
	for i, line := range want {
		if i >= len(got) || got[i] != line {
			t.Errorf("line %d (-want +got)\n%s", i, cmp.Diff(want, got))
			break
		}
	}
	if len(got) != len(want)+2 || !strings.Contains(got[len(want)], "is a folder") || !strings.Contains(got[len(want)+1], "are no pair") {
		t.Errorf("the second policy: %q", got[len(want):])
	}
}

// A folder for bodies is sound where a file can be made in it, of which nothing is left.
func TestSpoolDirIsTried(t *testing.T) {
	folder := t.TempDir()
	policy := filepath.Join(t.TempDir(), "p.yaml")
	for spool, warnings := range map[string]int{folder: 0, policy: 1} { // a file is no folder
		text := fmt.Sprintf("version: 1\nserver: {spool_dir: %q}\nroutes: [{path: /a, respond: {}}]\n", spool)
		if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, found := policies.Load(policy, policies.LoadOptions{CheckFiles: true})
		if len(found) != warnings || found.HasErrors() {
			t.Errorf("%s: %v", spool, found)
		}
	}
	if left, err := os.ReadDir(folder); len(left) > 0 || err != nil {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
}

// The listener's certificate and the upstreams' go by one rule.
func TestClientCertificatesOfUpstreamsAreChecked(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"p.yaml": `version: 1
upstreams:
  a: {servers: [https://a], tls: {cert_file: missing.pem, key_file: text.pem}}
  b: {servers: [https://b], tls: {cert_file: text.pem, key_file: missing.pem}}
  c: {servers: [https://c], tls: {cert_file: text.pem, key_file: text.pem}}
routes: [{path: /a, upstream: a}, {path: /b, upstream: b}, {path: /c, upstream: c}]
`,
		"text.pem": "no PEM",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, found := policies.Load("p.yaml", policies.LoadOptions{}); len(found) > 0 {
		t.Errorf("not asked for: %s", found)
	}
	_, found := policies.Load("p.yaml", policies.LoadOptions{CheckFiles: true})
	want := []string{"p.yaml:3:46: can't read the file: open missing.pem", "p.yaml:4:66: can't read the file: open missing.pem", "p.yaml:5:46: \"text.pem\" and \"text.pem\" are no pair"}
	for i, w := range want {
		if len(found) != len(want) || !strings.HasPrefix(found[i].String(), w) {
			t.Fatalf("got %s, want %q", found, want)
		}
	}
}

func TestFilesOfRedisAreCheckedWhereThatIsAskedFor(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"p.yaml": `version: 1
redis:
  url: rediss://h
  password_file: missing
  tls: {cert_file: missing.pem, key_file: missing.key}
  sessions: {url: "rediss://s", password_file: empty, tls: {ca_file: text.pem}}
  cache: {url: "rediss://c", tls: {cert_file: text.pem, key_file: text.pem}}
routes: [{path: /a, respond: {}}]
`,
		"text.pem": "no PEM",
		"empty":    "\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, found := policies.Load("p.yaml", policies.LoadOptions{}); len(found) > 0 {
		t.Errorf("not asked for: %s", found)
	}
	_, found := policies.Load("p.yaml", policies.LoadOptions{CheckFiles: true})
	text := found.String()
	for _, want := range []string{
		"p.yaml:4:18: can't read the file: open missing",
		"p.yaml:5:20: can't read the file: open missing.pem",
		`p.yaml:6:48: the file "empty" is empty; write the password into it`,
		`"text.pem" holds no certificate`,
		`"text.pem" and "text.pem" are no pair`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing says %q in\n%s", want, text)
		}
	}
}
