package replay_test

import (
	"bytes"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/headgate/headgate/gateway/replay"
	"github.com/headgate/headgate/gateway/replay/logs"
	"github.com/headgate/headgate/policies"
)

var update = flag.Bool("update", false, "write the golden files anew")

// quarterOfAnHour is a log with something of everything.
func quarterOfAnHour() logs.Log {
	rnd := rand.New(rand.NewPCG(7, 7))
	var b strings.Builder
	for second := range 900 {
		at := time.Duration(second) * time.Second
		b.WriteString(line{at: at, ip: "192.0.2." + strconv.Itoa(rnd.IntN(40)), uri: "/products/" + strconv.Itoa(rnd.IntN(9)) + "?utm_x=" + strconv.Itoa(second)}.String())
		if second%3 == 0 {
			b.WriteString(line{at: at, ip: "2001:db8::" + strconv.Itoa(second%9), uri: "/assets/app.css"}.String())
		}
		if second >= 300 && second < 420 { // somebody guesses passwords
			b.WriteString(line{at: at, ip: "203.0.113.9", method: "POST", uri: "/login", status: "401", agent: "curl/8.5.0"}.String())
		}
		if second >= 600 && second < 660 { // and somebody else copies the shop
			b.WriteString(line{at: at, ip: "198.51.100.7", uri: "/products/" + strconv.Itoa(second), agent: `Copy<script>alert(1)</script>Bot/1.0`}.String())
		}
		switch second {
		case 10:
			b.WriteString("what is this?\n")
		case 20:
			b.WriteString(line{at: at, ip: "203.0.113.10", uri: "/wp-login.php"}.String())
		case 30:
			b.WriteString(line{at: at, ip: "203.0.113.10", uri: "/login"}.String())
		}
	}
	return text("access.log", b.String())
}

func load(t *testing.T, name string) *policies.Policy {
	t.Helper()
	p, problems := policies.Load(filepath.Join("testdata", name), policies.LoadOptions{})
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	return p
}

func report(t *testing.T) *replay.Report {
	t.Helper()
	return run(t, replay.Options{
		Policy: load(t, "new.yaml"), Name: "new.yaml", Against: load(t, "old.yaml"), AgainstName: "old.yaml",
		Logs: []logs.Log{quarterOfAnHour()}, Top: 5,
	})
}

func TestReportsAreAsTheGoldenFilesSay(t *testing.T) {
	t.Parallel()
	r := report(t)
	for name, write := range map[string]func(io.Writer) error{"report.txt": r.WriteText, "report.json": r.WriteJSON} {
		var got bytes.Buffer
		if err := write(&got); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("%s (go test -update writes it anew):\n%s", file, diff)
		}
	}
}

func TestThePageNeedsNothingFromElsewhereAndRunsNothing(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := report(t).WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, wanted := range []string{"<svg", "203.0.113.9", "198.51.100.7", "new.yaml", "old.yaml", "per-ip", "prefers-color-scheme", "&lt;script&gt;alert(1)"} {
		if !strings.Contains(page, wanted) {
			t.Errorf("the page lacks %q", wanted)
		}
	}
	for _, unwanted := range []string{`<script`, `https?://`, `(?i)\ssrc=`, `(?i)\shref=`, `(?i)url\(`, `@import`, `ZgotmplZ`, `NaN`, `<no value>`} {
		if found := regexp.MustCompile(unwanted).FindString(page); found != "" {
			t.Errorf("the page has %q", found)
		}
	}
}

func TestProgramsThatSayThatTheyAreProgramsAreBots(t *testing.T) {
	t.Parallel()
	for agent, want := range map[string]bool{
		browser: false,
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile/15E148 Safari/604.1": false,
		"Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36":                      false,
		"okhttp/4.12.0": false, // apps use it
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)":   true,
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2)": true,
		"Mozilla/5.0 (compatible; Baiduspider/2.0)":                                  true,
		"curl/8.5.0":             true,
		"python-requests/2.32.3": true,
		"Go-http-client/2.0":     true,
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/126.0 Safari/537.36": true,
		"": true,
	} {
		if got := replay.IsBot(agent); got != want {
			t.Errorf("%q: %v", agent, got)
		}
	}
}
