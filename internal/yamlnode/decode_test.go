package yamlnode_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/headgate/headgate/internal/yamlnode"
	"github.com/headgate/headgate/middleware/problem"
)

// everything has a field for each way in which a value may be written.
type everything struct {
	Wait   time.Duration `yaml:"wait" config:"none"`
	Every  time.Duration `yaml:"every" config:"none,off"`
	Tries  int           `yaml:"tries" config:"none"`
	Share  float64       `yaml:"share" config:"none"`
	Most   int64         `yaml:"most" config:"size"`
	Safe   bool          `yaml:"safe" config:"not"`
	Light  bool          `yaml:"light" config:"switch"`
	Token  string        `yaml:"token" config:"secret"`
	Keys   [][]byte      `yaml:"keys" config:"secret"`
	File   string        `yaml:"file" config:"path=stdout"`
	Names  []string      `yaml:"names" config:"off"`
	Expect []int         `yaml:"expect" config:"one"`
	Mode   mode          `yaml:"mode"`
	Guard  guard         `yaml:"guard" config:"optional"`
	Hosts  []host        `yaml:"hosts"`
	Part   part          `yaml:"part"`
}

type mode string

func (mode) Values() []string { return []string{"slow", "fast"} }

type guard struct {
	Off   bool `yaml:"-" config:"isoff"`
	Count int  `yaml:"count"`
}

func (g *guard) SetDefaults() { *g = guard{Count: 5} }

type host struct {
	URL    string `yaml:"url" config:"self" required:"write its URL"`
	Weight int    `yaml:"weight"`
}

func (h *host) SetDefaults() { h.Weight = 1 }

type part struct{ name string }

func (p *part) UnmarshalText(text []byte) error {
	if p.name = string(text); p.name != "known" {
		return problem.New("", "write known", "%s is unknown", problem.Quote(p.name))
	}
	return nil
}

func decode(t *testing.T, text string) (everything, *yamlnode.Decoder) {
	t.Helper()
	root, wrong := yamlnode.Parse("dir/f.yaml", []byte(text))
	if wrong != nil {
		t.Fatal(wrong)
	}
	d := &yamlnode.Decoder{
		Walker: yamlnode.Walker{
			Report:    &yamlnode.Report{Files: []string{"dir/f.yaml"}},
			LookupEnv: func(string) (string, bool) { return "", false },
		},
		Source: yamlnode.NewSource(),
	}
	v := everything{Guard: guard{Count: 5}, Tries: 1}
	d.File(yamlnode.File{Name: "dir/f.yaml", Data: []byte(text), Root: root}, &v)
	return v, d
}

func TestTagsSayHowAValueIsWritten(t *testing.T) {
	t.Parallel()
	got, d := decode(t, `
wait: 0s
every: off
tries: 0
share: 0
most: 2KiB
safe: false
light: on
token: hush
keys: [a, b]
file: logs/x
names: off
expect: 204
mode: fast
guard: {}
hosts: [http://a, {url: http://b, weight: 2}]
part: known
`)
	if found := d.Report.Sorted(); len(found) > 0 {
		t.Fatal(found)
	}
	want := everything{
		Wait: -1, Every: -1, Tries: -1, Share: -1, Most: 2048, Safe: true, Light: true, Token: "hush", Keys: [][]byte{[]byte("a"), []byte("b")},
		File: "dir/logs/x", Names: []string{}, Expect: []int{204}, Mode: "fast", Guard: guard{Count: 5},
		Hosts: []host{{"http://a", 1}, {"http://b", 2}}, Part: part{"known"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(part{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	shown := map[string]string{}
	for _, f := range yamlnode.Fields(reflect.TypeFor[everything]()) {
		if !yamlnode.Section(f.Type) && f.Name != "hosts" && f.Name != "part" {
			shown[f.Name] = yamlnode.Text(reflect.ValueOf(got).FieldByIndex(f.Index), f.Options)
		}
	}
	if diff := cmp.Diff(map[string]string{
		"wait": "0s", "every": "off", "tries": "0", "share": "0", "most": "2KiB", "safe": "false", "light": "on", "token": "***", "keys": "[***, ***]",
		"file": "dir/logs/x", "names": "", "expect": "204", "mode": "fast",
	}, shown); diff != "" {
		t.Errorf("shown again: (-want +got)\n%s", diff)
	}
}

func TestAnOptionalSectionIsOffOnOrWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]guard{
		"mode: fast":        {Count: 5},
		"guard: off":        {Off: true},
		"guard: on":         {Count: 5},
		"guard: {count: 7}": {Count: 7},
	} {
		if got, d := decode(t, text); got.Guard != want || d.Report.HasErrors() {
			t.Errorf("%s: %+v, %v", text, got.Guard, d.Report.Sorted())
		}
	}
}

func TestMistakesHavePlaceAndMend(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"tries: -1":                  `1:8: "-1" is negative; write 0 for none`,
		"mode: fsat":                 `1:7: "fsat" is no value of "mode"; did you mean "fast"?`,
		"part: other":                `1:7: "other" is unknown; write known`,
		"hosts: [{weight: 2}]":       `1:9: "hosts[0]" has no url; write its URL`,
		`hosts: [{url: " "}]`:        `1:15: "hosts[0]" has no url; write its URL`,
		"hosts: [{url: }]":           `1:15: "hosts[0]" has no url; write its URL`,
		"hosts: [{url: []}]":         `1:15: "hosts[0]" has no url; write its URL`,
		"hosts: [{url: [~, '']}]":    `1:15: "hosts[0]" has no url; write its URL`,
		"hosts: [{url: {}}]":         `1:15: "hosts[0]" has no url; write its URL`,
		"hosts: [{url: '${NOT:-}'}]": `1:15: "hosts[0]" has no url; write its URL`,
		"hosts: [{url: &x [*x]}]":    `1:15: "hosts[0].url" is a list; write a string`,
		"hosts: http://a":            "1:8: \"hosts\" is \"http://a\" where a list is expected; begin each item with `- `",
		"expect: [200, 204]":         `1:9: "this" is a list; write a whole number`,
		"guard:":                     `1:7: "guard" has no value; give it one, or remove the key`,
		"names: [off, x]\nnmaes: x":  `2:1: unknown key "nmaes"; did you mean "names"?`,
	} {
		_, d := decode(t, text)
		found := d.Report.Sorted()
		if got := strings.TrimSuffix(found.String(), "\n"); got != "dir/f.yaml:"+want {
			t.Errorf("%s: got %s", text, got)
		}
	}
}
