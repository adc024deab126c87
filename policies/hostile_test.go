package policies_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headgate/headgate/policies"
)

// What matters is that these end: the YAML library alone would not see to that.
func TestHostileFilesEndInAFewDiagnostics(t *testing.T) {
	t.Parallel()
	const most = 4 << 20
	for name, text := range map[string]string{
		"deep lists":        strings.Repeat("[", 100_000),
		"deep blocks":       strings.Repeat("- ", 100_000),
		"deep routes":       "routes: " + strings.Repeat("[", 5_000) + strings.Repeat("]", 5_000),
		"many empty routes": "routes: [" + strings.Repeat("{},", most/64) + "]",
		"many alike routes": "x-r: &r {path: /a, respond: {}}\nroutes: [" + strings.Repeat("*r,", 20_000) + "]",
		"many keys":         "limits: {" + strings.Repeat("a", 1000) + strings.Repeat(": 1, a", 20_000) + ": 1}",
		"a merge of merges": "x-a: &a {a: 1}\nx-b: &b {<<: [" + strings.Repeat("*a,", 1000) + "]}\nx-c: &c {<<: [" + strings.Repeat("*b,", 1000) + "]}\nserver: {<<: [" + strings.Repeat("*c,", 1000) + "]}",
		"one long scalar":   "version: " + strings.Repeat("9", most/4),
		"long variable":     "version: " + strings.Repeat("${", most/8),
		"control character": "version: \x01",
		"not UTF-8":         "version: \xff",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, ds := policies.Parse("p.yaml", []byte(text), policies.LoadOptions{LookupEnv: environment})
			if !ds.HasErrors() || len(ds) > 1001 {
				t.Errorf("%d diagnostics", len(ds))
			}
			for _, d := range ds {
				if len(d.String()) > 2000 {
					t.Errorf("a diagnostic of %d bytes", len(d.String()))
				}
			}
		})
	}
}

func TestOversizedAndUnreadableFilesAreErrors(t *testing.T) {
	t.Parallel()
	large := func(string) ([]byte, error) { return []byte(strings.Repeat("# comment\n", 1<<20)), nil }
	broken := func(string) ([]byte, error) { return nil, errors.New("the disk is on fire") }
	for want, read := range map[string]func(string) ([]byte, error){"larger than 4 MiB": large, "the disk is on fire": broken} {
		_, ds := policies.Load("p.yaml", policies.LoadOptions{ReadFile: read})
		if err := ds.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	_, ds := policies.Parse("p.yaml", []byte("server: {"+strings.Repeat("a: 1, ", 3)+strings.Join(strings.Split(strings.Repeat("k", 2000), ""), "x: 1, ")+": 1}"), policies.LoadOptions{})
	if len(ds) > 1001 {
		t.Errorf("%d diagnostics", len(ds))
	}
}

// FuzzParse: nothing panics, every diagnostic is complete, and what loads can be shown and routed.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*/*.yaml", "*.yaml"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			if data, err := os.ReadFile(file); err == nil {
				f.Add(data)
			}
		}
	}
	options := policies.LoadOptions{
		LookupEnv: environment,
		ReadFile:  func(string) ([]byte, error) { return nil, fs.ErrNotExist },
		Glob:      func(string) ([]string, error) { return nil, nil },
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, ds := policies.Parse("fuzz.yaml", data, options)
		if (p == nil) != ds.HasErrors() {
			t.Fatalf("policy %v with\n%s", p, ds)
		}
		for _, d := range ds {
			if d.File != "fuzz.yaml" || d.Line < 1 || d.Column < 1 || d.Message == "" || d.Mend == "" {
				t.Fatalf("incomplete: %+v", d)
			}
		}
		if _, again := policies.Parse("fuzz.yaml", data, options); again.String() != ds.String() {
			t.Fatalf("not deterministic:\n%s\nand then\n%s", ds, again)
		}
		if p == nil {
			return
		}
		if len(p.Masked()) == 0 {
			t.Fatal("nothing to show")
		}
		if _, err := policies.NewMatcher(p.Routes); err != nil {
			t.Fatalf("loads, but can't be matched: %v", err)
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	var text strings.Builder
	text.WriteString("version: 1\nupstreams: {shop: {servers: [http://h]}}\nlimits: {per-ip: {requests: 1, window: 1m}}\nroutes:\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "  - {name: r%d, path: [/s%d, /s%d/:id/*], methods: [GET, POST], upstream: shop, limits: per-ip}\n", i, i, i)
	}
	data := []byte(text.String())
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, ds := policies.Parse("p.yaml", data, policies.LoadOptions{}); len(ds) > 0 {
			b.Fatal(ds)
		}
	}
}
