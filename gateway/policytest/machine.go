package policytest

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"time"

	"github.com/headgate/headgate/gateway/pipeline"
	"github.com/headgate/headgate/policies"
)

// WriteJSON writes reports for programs.
func WriteJSON(out io.Writer, reports []*Report) error {
	type place struct {
		File   string `json:"file"`
		Line   int    `json:"line"`
		Column int    `json:"column"`
	}
	type diagnostic struct {
		place
		Severity string `json:"severity"`
		Message  string `json:"message"`
		Mend     string `json:"mend,omitempty"`
	}
	type failure struct {
		place
		Request     string                `json:"request"`
		More        int                   `json:"more,omitempty"`
		AfterMS     int64                 `json:"after_ms"`
		Differences []Difference          `json:"differences,omitempty"`
		Answer      string                `json:"answer,omitempty"`
		Explanation *pipeline.Explanation `json:"explanation,omitempty"`
	}
	type test struct {
		place
		Name        string    `json:"name"`
		OK          bool      `json:"ok"`
		Requests    int       `json:"requests"`
		SimulatedMS int64     `json:"simulated_ms"`
		Failures    []failure `json:"failures,omitempty"`
	}
	type report struct {
		Policy  string       `json:"policy"`
		Tests   string       `json:"tests"`
		OK      bool         `json:"ok"`
		Wrong   []diagnostic `json:"wrong,omitempty"`
		Notes   []string     `json:"notes,omitempty"`
		Skipped int          `json:"skipped,omitempty"`
		Results []test       `json:"results,omitempty"`
	}
	at := func(p policies.Position) place { return place{p.File, p.Line, p.Column} }
	all := []report{}
	for _, r := range reports {
		j := report{Policy: r.Policy, Tests: r.Tests, OK: r.OK(), Notes: r.Notes, Skipped: r.Skipped}
		for _, d := range r.Wrong {
			j.Wrong = append(j.Wrong, diagnostic{at(d.Position), d.Severity.String(), d.Message, d.Mend})
		}
		for _, t := range r.Results {
			jt := test{place: at(t.Position), Name: t.Name, OK: t.OK(), Requests: t.Requests, SimulatedMS: t.Simulated.Milliseconds()}
			for i := range t.Failures {
				f := &t.Failures[i]
				jt.Failures = append(jt.Failures, failure{at(f.Position), f.Title(), f.More, f.After.Milliseconds(), f.Differences, f.Answer, f.Explanation})
			}
			j.Results = append(j.Results, jt)
		}
		all = append(all, j)
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(all)
}

// WriteJUnit writes reports as JUnit's XML, which CI systems show: a suite for
// each policy, a case for each test. explain may be nil.
func WriteJUnit(out io.Writer, reports []*Report, explain Explainer) error {
	type failure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	type testcase struct {
		Class   string   `xml:"classname,attr"`
		Name    string   `xml:"name,attr"`
		File    string   `xml:"file,attr"`
		Line    int      `xml:"line,attr"`
		Time    string   `xml:"time,attr"`
		Failure *failure `xml:"failure,omitempty"`
		Error   *failure `xml:"error,omitempty"`
	}
	type suite struct {
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Errors   int        `xml:"errors,attr"`
		Time     string     `xml:"time,attr"`
		Cases    []testcase `xml:"testcase"`
	}
	type suites struct {
		XMLName  xml.Name `xml:"testsuites"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Errors   int      `xml:"errors,attr"`
		Suites   []suite  `xml:"testsuite"`
	}
	var all suites
	for _, r := range reports {
		s := suite{Name: r.Tests}
		var took time.Duration
		if r.Wrong.HasErrors() {
			s.Tests, s.Errors = 1, 1
			s.Cases = append(s.Cases, testcase{Class: r.Policy, Name: "the files can be read", File: r.Wrong[0].File, Line: r.Wrong[0].Line,
				Time: seconds(0), Error: &failure{Message: plain(r.Wrong[0].String()), Text: plain(r.Wrong.String())}})
		}
		for _, t := range r.Results {
			c := testcase{Class: r.Policy, Name: plain(t.Name), File: t.File, Line: t.Line, Time: seconds(t.Took)}
			if !t.OK() {
				var text bytes.Buffer
				for i := range t.Failures {
					t.Failures[i].writeText(&text, explain)
				}
				c.Failure = &failure{Message: plain(t.Failures[0].Title()), Text: plain(text.String())}
				s.Failures++
			}
			s.Tests++
			took += t.Took
			s.Cases = append(s.Cases, c)
		}
		s.Time = seconds(took)
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Errors += s.Errors
		all.Suites = append(all.Suites, s)
	}
	if _, err := io.WriteString(out, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(out)
	enc.Indent("", "  ")
	if err := enc.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(out, "\n")
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

// plain removes the characters that XML 1.0 does not allow.
func plain(s string) string {
	out := make([]rune, 0, len(s))
	for _, r := range s {
		if r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r != 0xfffe && r != 0xffff {
			out = append(out, r)
		}
	}
	return string(out)
}
