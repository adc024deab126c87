package policytest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/headgate/headgate/middleware/session"
)

// apps stand in for the policy's app servers, in place of the proxy's connections to them.
type apps struct {
	clock   *clock
	answers map[string][]Answer

	mu         sync.Mutex
	stepAnswer *Answer // what the current step has them answer; nil: what the file says under apps
	received   []*received
}

// received is a request as an app server saw it.
type received struct {
	Upstream string
	Server   string
	Method   string
	Path     string // with the query
	Host     string
	Header   http.Header
	Body     string

	account string // that the answer says was tried to log in to
}

// transport stands in for one upstream.
func (a *apps) transport(upstream string) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) { return a.answer(upstream, r) })
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// beginStep sets the answer for a step, and forgets the requests of the one before.
func (a *apps) beginStep(now *Answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stepAnswer, a.received = now, nil
}

// requests returns the requests that app servers have received since beginStep.
func (a *apps) requests() []*received {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.received
}

func (a *apps) answer(upstream string, r *http.Request) (*http.Response, error) {
	seen := &received{
		Upstream: upstream, Server: r.URL.Scheme + "://" + r.URL.Host,
		Method: r.Method, Path: r.URL.RequestURI(), Host: r.Host, Header: r.Header.Clone(),
	}
	if seen.Host == "" {
		seen.Host = r.URL.Host
	}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			return nil, err
		}
		seen.Body = string(body)
	}
	a.mu.Lock()
	a.received = append(a.received, seen)
	answer := a.choose(upstream, seen)
	seen.account = answer.Header.Get(session.HeaderLoginAttempt)
	a.mu.Unlock()

	switch answer.Fail {
	case Refused:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	case Timeout:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
	}
	return a.response(r, answer), nil
}

// choose finds the answer to a request.
func (a *apps) choose(upstream string, r *received) Answer {
	answer := Answer{Status: http.StatusOK}
	if a.stepAnswer != nil {
		answer = *a.stepAnswer
	} else {
		for _, candidate := range a.answers[upstream] {
			if candidate.fits(r) {
				answer = candidate
				break
			}
		}
	}
	if !answer.HasBody {
		answer.Body = fmt.Sprintf("%s answers %s %s\n", upstream, r.Method, r.Path)
	}
	return answer
}

// fits reports whether an answer is for this request.
func (a *Answer) fits(r *received) bool {
	if a.Method != "" && a.Method != r.Method {
		return false
	}
	if a.Path == "" {
		return true
	}
	path := r.Path
	if !strings.Contains(a.Path, "?") {
		path, _, _ = strings.Cut(path, "?")
	}
	if prefix, ok := strings.CutSuffix(a.Path, "*"); ok {
		return strings.HasPrefix(path, prefix)
	}
	return path == a.Path
}

func (a *apps) response(r *http.Request, answer Answer) *http.Response {
	res := &http.Response{
		Status:     strconv.Itoa(answer.Status) + " " + http.StatusText(answer.Status),
		StatusCode: answer.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: answer.Header.Clone(), Request: r,
	}
	if res.Header == nil {
		res.Header = http.Header{}
	}
	if res.Header["Date"] == nil {
		res.Header.Set("Date", a.clock.Now().UTC().Format(http.TimeFormat))
	}
	if answer.Status == http.StatusSwitchingProtocols {
		for _, name := range []string{"Connection", "Upgrade"} {
			if res.Header[name] == nil {
				res.Header[name] = r.Header[name]
			}
		}
		res.Body = closedConn{}
		return res
	}
	body := answer.Body
	if r.Method == http.MethodHead || answer.Status == http.StatusNoContent || answer.Status == http.StatusNotModified {
		body = ""
	}
	res.Body = io.NopCloser(strings.NewReader(body))
	res.ContentLength = int64(len(body))
	if r.Method == http.MethodHead {
		res.ContentLength = int64(len(answer.Body))
	}
	if answer.Status != http.StatusNoContent && answer.Status != http.StatusNotModified {
		res.Header.Set("Content-Length", strconv.FormatInt(res.ContentLength, 10))
	}
	return res
}

// closedConn is an upgraded connection that the app server closes at once.
type closedConn struct{}

func (closedConn) Read([]byte) (int, error)    { return 0, io.EOF }
func (closedConn) Write(p []byte) (int, error) { return len(p), nil }
func (closedConn) Close() error                { return nil }

var errClosed = errors.New("the connection is closed")
