package server_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/headgate/headgate/gateway/server"
	"github.com/headgate/headgate/policies"
)

// filed is a gateway whose policy stands in a file, with a secret in another.
type filed struct {
	*gateway
	file, secret string
	out          *lockedBuffer // what the gateway logs
	env          atomic.Value  // ${STATUS}
}

// startFiled starts a gateway with the first policy of the file.
func startFiled(t *testing.T) *filed {
	dir := t.TempDir()
	f := &filed{file: filepath.Join(dir, "headgate.yaml"), secret: filepath.Join(dir, "secret"), out: new(lockedBuffer)}
	f.env.Store("200")
	put(t, f.secret, strings.Repeat("a", 32))
	put(t, f.file, f.answers("201"))
	load := func() (*policies.Policy, error) {
		p, found := policies.Load(f.file, policies.LoadOptions{LookupEnv: func(string) (string, bool) { return f.env.Load().(string), true }})
		return p, found.Err()
	}
	f.gateway = start(t, "routes: [{path: /*, respond: {status: 200}}]\n", func(o *server.Options) {
		p, err := load()
		if err != nil {
			t.Fatal(err)
		}
		o.Policy, o.Load, o.Logger = p, load, slog.New(slog.NewTextHandler(f.out, nil))
	})
	return f
}

// answers is a policy that answers with this status.
func (f *filed) answers(status string) string {
	return fmt.Sprintf("version: 1\nsession: {secrets_file: %q}\nroutes:\n- path: /*\n  respond:\n    status: %s\n%s", f.secret, status, listenAnywhere)
}

func put(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// want checks what runs: a policy's number and what it answers, and whether a rollback holds.
func (f *filed) want(step string, number, status int, held bool) {
	f.t.Helper()
	var run admin.Running
	if err := json.Unmarshal([]byte(f.admin("GET", "/policy").text), &run); err != nil {
		f.t.Fatal(err)
	}
	var all []admin.Revision
	if err := json.Unmarshal([]byte(f.admin("GET", "/policy/history").text), &all); err != nil {
		f.t.Fatal(err)
	}
	if got := f.do("GET", "/").StatusCode; got != status || run.Number != number || run.Held != held || all[0].Held != held || all[0].Number != number {
		f.t.Errorf("%s: policy %d answers %d, held %v, and history has %+v; want policy %d, %d, %v", step, run.Number, got, run.Held, all[0], number, status, held)
	}
	if held != strings.Contains(run.Note, "holds until the policy's files change") {
		f.t.Errorf("%s: the note of /policy is %q", step, run.Note)
	}
}

// reloads is how often a policy was loaded, by the metrics.
func (f *filed) reloads() float64 { return f.metric("headgate_policy_reloads_total") }

func TestARollbackHoldsUntilThePolicysFilesChange(t *testing.T) {
	t.Parallel()
	f := startFiled(t)
	put(t, f.file, f.answers("202"))
	if err := f.Reload("test"); err != nil {
		t.Fatal(err)
	}
	f.want("the second policy", 2, 202, false)
	f.admin("POST", "/policy/rollback?to=1")
	f.want("rolled back", 3, 201, true)
	if !strings.Contains(f.out.String(), `msg="the policy has been rolled back"`) {
		t.Errorf("the log: %s", f.out)
	}

	counted := f.reloads()
	for _, by := range []string{"SIGHUP", "file change"} {
		if err := f.Reload(by); err == nil || !strings.Contains(err.Error(), "headgate reload --file") {
			t.Errorf("%s: %v", by, err)
		}
	}
	if a := f.admin("POST", "/policy/reload"); a.StatusCode != 409 || !strings.Contains(a.text, "rollback to policy 1 holds") {
		t.Errorf("a reload through the admin listener: %d %s", a.StatusCode, a.text)
	}
	put(t, f.secret, strings.Repeat("b", 32))
	_ = f.Reload("file change")
	f.want("reloads of the same files, and another secret", 3, 201, true)
	if n := f.reloads(); n != counted || strings.Count(f.admin("GET", "/policy/history").text, `"number"`) != 3 {
		t.Errorf("%v reloads are counted, and were %v before", n, counted)
	}
	if !strings.Contains(f.out.String(), "the policy was not reloaded") || !strings.Contains(f.out.String(), "rollback to policy 1 holds") {
		t.Errorf("the log: %s", f.out)
	}

	put(t, f.file, "nonsense: [")
	if err := f.Reload("file change"); err == nil {
		t.Error("a broken file was loaded")
	}
	f.want("a broken file", 3, 201, true)
	if a := f.admin("GET", "/policy"); !strings.Contains(a.text, "last_reload_error") {
		t.Errorf("/policy does not show what is wrong: %s", a.text)
	}
	put(t, f.file, f.answers("202"))
	_ = f.Reload("file change")
	f.want("what was rolled back, mended", 3, 201, true)
	if a := f.admin("GET", "/policy"); strings.Contains(a.text, "last_reload_error") {
		t.Errorf("/policy shows an error that is mended: %s", a.text)
	}

	put(t, f.file, f.answers("203"))
	if err := f.Reload("file change"); err != nil {
		t.Error(err)
	}
	f.want("a changed file", 4, 203, false)
}

func TestAReloadMayEndARollback(t *testing.T) {
	t.Parallel()
	f := startFiled(t)
	put(t, f.file, f.answers("202"))
	_ = f.Reload("test")
	f.admin("POST", "/policy/rollback?to=1")
	if a := f.admin("POST", "/policy/reload?file=yes"); a.StatusCode != 400 {
		t.Errorf("file=yes: %d", a.StatusCode)
	}
	if a := f.admin("POST", "/policy/reload?file=true"); a.StatusCode != 200 || !strings.Contains(a.text, `"reloaded": true`) {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
	f.want("after reload --file", 4, 202, false)

	f.admin("POST", "/policy/rollback?to=1")
	f.want("rolled back again", 5, 201, true)
	f.admin("POST", "/policy/rollback?to=2")
	f.want("rolled back to what the files say", 6, 202, false)

	f.admin("POST", "/policy/rollback?to=1")
	put(t, f.file, f.answers("201"))
	if err := f.Reload("file change"); err != nil {
		t.Error(err)
	}
	f.want("files that say what was rolled back to", 7, 201, false)
	if !strings.Contains(f.out.String(), "the rollback has ended") {
		t.Errorf("the log: %s", f.out)
	}
}

func TestARollbackHoldsAgainstAnEditThatWasNotLoadedYet(t *testing.T) {
	t.Parallel()
	f := startFiled(t)
	put(t, f.file, f.answers("202"))
	f.admin("POST", "/policy/rollback?to=1") // which runs
	_ = f.Reload("file change")
	f.want("an edit from before the rollback", 1, 201, true)
	put(t, f.file, f.answers("203"))
	_ = f.Reload("file change")
	f.want("an edit from after it", 2, 203, false)
	put(t, f.file, "nonsense: [")
	f.admin("POST", "/policy/rollback?to=1")
	f.want("a rollback from broken files", 3, 201, true)
	if a := f.admin("GET", "/policy"); !strings.Contains(a.text, "last_reload_error") {
		t.Errorf("/policy does not show that the files are broken: %s", a.text)
	}
	f.admin("POST", "/policy/rollback?to=3")
	put(t, f.file, f.answers("203"))
	_ = f.Reload("file change")
	f.want("the files say again what was rolled back", 3, 201, true)
}

func TestAReloadNeedsAChangedPolicy(t *testing.T) {
	t.Parallel()
	f := startFiled(t)
	put(t, f.file, f.answers("${STATUS}"))
	if err := f.Reload("test"); err != nil {
		t.Fatal(err)
	}
	counted := f.reloads()
	unchanged := func(step string) {
		t.Helper()
		a := f.admin("POST", "/policy/reload")
		if n := f.reloads(); n != counted || a.StatusCode != 200 || !strings.Contains(a.text, `"reloaded": false`) {
			t.Errorf("%s: %v reloads are counted, and were %v before: %d %s", step, n, counted, a.StatusCode, a.text)
		}
	}
	changed := func(step string) {
		t.Helper()
		a := f.admin("POST", "/policy/reload")
		if n := f.reloads(); n != counted+1 || a.StatusCode != 200 || !strings.Contains(a.text, `"reloaded": true`) {
			t.Errorf("%s: %v reloads are counted, and were %v before: %d %s", step, n, counted, a.StatusCode, a.text)
		}
		counted = f.reloads()
	}
	unchanged("nothing")
	put(t, f.file, f.answers("${STATUS}"))
	unchanged("the same bytes")
	put(t, f.secret, strings.Repeat("b", 32))
	changed("a secret's file")
	f.env.Store("204")
	changed("a variable")
	f.want("a variable", 2, 204, false)
	put(t, f.file, f.answers("${STATUS}")+"# why\n")
	changed("a comment")

	put(t, f.file, "nonsense: [")
	if err := f.Reload("test"); err == nil {
		t.Error("a broken file was loaded")
	}
	counted++
	put(t, f.file, f.answers("${STATUS}")+"# why\n")
	unchanged("what runs, again")
	if f.metric("headgate_policy_last_reload_failed") != 0 {
		t.Error("the error is mended, and shown")
	}
}
