//go:build linux

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The headers that clients and app servers use among themselves.
const (
	headerNonce = "X-Request-Id" // of the request; the gateway passes it on and answers with it
	headerSum   = "X-Body-Sum"   // SHA-256 of the request's body, in hex
	headerSize  = "X-Want-Size"  // of the filler in the answer
	headerUser  = "X-Login-As"   // who is to be logged in
)

// renewPath is where the app has the session renewed: its ID is another one from then on.
const renewPath = "/account/renew"

// page is the first line of each answer of an app server. A filler follows, whose sum it has.
type page struct {
	Nonce   string `json:"nonce"` // of the request that the app server was asked with
	Path    string `json:"path"`
	User    string `json:"user,omitempty"` // Headgate-User
	Version int    `json:"version,omitempty"`
	Got     string `json:"got,omitempty"` // the sum of the request's body, as it arrived
	Sum     string `json:"sum"`
}

// site is what all app servers share: the versions of pages, and which requests they were asked.
type site struct {
	report *report

	mu       sync.Mutex
	versions map[string]int
	unsafe   map[string]int // POSTs by nonce
	done     map[string]int // jobs that were answered, by key
}

func newSite(r *report) *site {
	return &site{report: r, versions: map[string]int{}, unsafe: map[string]int{}, done: map[string]int{}}
}

// edit changes a page and returns its new version.
func (s *site) edit(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions[path]++
	return s.versions[path]
}

func (s *site) version(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.versions[path]
}

// note keeps which request was asked, and judges whether it may come at all.
func (s *site) note(r *http.Request, sum string) {
	nonce := r.Header.Get(headerNonce)
	if want := r.Header.Get(headerSum); want != "" {
		s.report.judge(finding{invariant: wholeBodies, holds: want == sum, detail: "an app server got another body than the client has sent, and no error"}, nonce)
	}
	if _, ok := isJob(r); ok || r.Method != http.MethodPost {
		return
	}
	s.mu.Lock()
	s.unsafe[nonce]++
	times := s.unsafe[nonce]
	s.mu.Unlock()
	s.report.judge(finding{invariant: unsafeOnce, holds: times == 1, detail: fmt.Sprintf("app servers were asked %d times for one POST that its client has sent once", times)}, nonce)
}

// serve answers as an app server does that is well. cut says that it breaks off in the middle.
func (s *site) serve(w http.ResponseWriter, r *http.Request, cut bool) {
	hash := sha256.New()
	if _, err := io.Copy(hash, r.Body); err != nil {
		panic(http.ErrAbortHandler) // the app server sees that the body is not whole
	}
	p := page{Nonce: r.Header.Get(headerNonce), Path: r.URL.Path, User: r.Header.Get("Headgate-User"), Got: hex.EncodeToString(hash.Sum(nil))}
	s.note(r, p.Got)
	h := w.Header()
	h.Set("Content-Type", "text/plain")
	switch {
	case r.URL.Path == "/login":
		h.Set("Headgate-Login", r.Header.Get(headerUser))
	case r.URL.Path == renewPath:
		h.Set("Headgate-Session-Renew", "?1")
	case strings.HasPrefix(r.URL.Path, "/pages/"):
		p.Version = s.version(r.URL.Path)
		h.Set("Cache-Control", "public, max-age=5")
		h.Set("Cache-Tag", tagOf(r.URL.Path))
	}
	size, _ := strconv.Atoi(r.Header.Get(headerSize))
	filler := fillerOf(p.Nonce, size)
	p.Sum = sumOf(filler)
	line, _ := json.Marshal(p)
	text := append(append(line, '\n'), filler...)
	if size%2 == 0 { // an even size is announced, an odd one is sent in chunks
		h.Set("Content-Length", strconv.Itoa(len(text)))
	}
	half := len(text) / 2
	_, _ = w.Write(text[:half])
	if cut || size%2 == 1 {
		_ = http.NewResponseController(w).Flush()
	}
	if cut {
		time.Sleep(5 * time.Millisecond) // so that the first half is on its way
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(text[half:])
	if key, ok := isJob(r); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.done[key]++
	}
}

// effects is how often app servers had a job and answered it.
func (s *site) effects(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done[key]
}

// tagOf is the tag of a page, by which an editor purges it.
func tagOf(path string) string { return strings.ReplaceAll(strings.Trim(path, "/"), "/", "-") }

// fillerOf is text of this size that differs from request to request.
func fillerOf(nonce string, size int) []byte {
	text := strings.Repeat(nonce+".", size/(len(nonce)+1)+1)
	return []byte(text[:size])
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
