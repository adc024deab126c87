package server_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestConformanceOnTheWireThroughTheGateway is what an answer's fields alone
// cannot say: how it was framed, what came before it, and what came later.
func TestConformanceOnTheWireThroughTheGateway(t *testing.T) {
	t.Parallel()
	const fresh = "max-age=3600"
	setup := func(t *testing.T, f http.HandlerFunc) (*gateway, *atomic.Int64) {
		var asked atomic.Int64
		return start(t, fmt.Sprintf(withHeuristicCache, appFunc(t, func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			f(w, r)
		}).URL)), &asked
	}
	t.Run("9112 7: a chunked answer is stored whole, with its length", func(t *testing.T) {
		t.Parallel()
		g, asked := setup(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", fresh)
			io.WriteString(w, "in two ")
			w.(http.Flusher).Flush()
			io.WriteString(w, "pieces")
		})
		g.do("GET", "/x")
		if a := g.do("GET", "/x"); a.text != "in two pieces" || a.ContentLength != 13 || asked.Load() != 1 {
			t.Errorf("%q, length %d, asked %d times", a.text, a.ContentLength, asked.Load())
		}
	})
	t.Run("9111 3.3: a truncated answer is neither whole nor stored", func(t *testing.T) {
		t.Parallel()
		for _, length := range []string{"", "10"} {
			var n atomic.Int64
			g, asked := setup(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", fresh)
				if n.Add(1) > 1 {
					io.WriteString(w, "0123456789")
					return
				}
				if length != "" {
					w.Header().Set("Content-Length", length)
				}
				io.WriteString(w, "01234")
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			})
			if res, err := plain.Get("http://" + g.Addr() + "/x"); err == nil {
				// A short one with a length is held back until it is whole: 502.
				if _, err := io.ReadAll(res.Body); err == nil && res.StatusCode != http.StatusBadGateway {
					t.Errorf("length %q: the client cannot tell", length)
				}
				res.Body.Close()
			}
			if a := g.do("GET", "/x"); a.text != "0123456789" || asked.Load() != 2 {
				t.Errorf("length %q: %q, asked %d times", length, a.text, asked.Load())
			}
		}
	})
	t.Run("9110 15.2: 102 and 103 are passed on, and are no part of what is stored", func(t *testing.T) {
		t.Parallel()
		g, asked := setup(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusProcessing)
			w.Header().Set("Link", "</a>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
			w.Header().Set("Cache-Control", fresh)
			io.WriteString(w, "final")
		})
		var hints []string
		for i := range 2 {
			r, _ := http.NewRequest("GET", "http://"+g.Addr()+"/x", nil)
			res, err := plain.Do(r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
				Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
					hints = append(hints, fmt.Sprintf("%d %d %s", i, code, h.Get("Link")))
					return nil
				}})))
			if err != nil {
				t.Fatal(err)
			}
			if body, _ := io.ReadAll(res.Body); string(body) != "final" || res.Header.Get("Link") != "" {
				t.Errorf("%q %v", body, res.Header)
			}
			res.Body.Close()
		}
		if fmt.Sprint(hints) != "[0 102  0 103 </a>; rel=preload]" || asked.Load() != 1 {
			t.Errorf("hints %q, asked %d times", hints, asked.Load())
		}
	})
	t.Run("9110 6.6.1: an answer without Date, or with one that is none, gets the time it came", func(t *testing.T) {
		t.Parallel()
		for _, date := range [][]string{nil, {"yesterday"}} {
			g, asked := setup(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header()["Date"] = date
				w.Header().Set("Cache-Control", fresh)
			})
			before := time.Now().Add(-time.Second)
			g.do("GET", "/x")
			a := g.do("GET", "/x")
			if d, err := http.ParseTime(a.Header.Get("Date")); err != nil || d.Before(before.Truncate(time.Second)) || len(a.Header["Date"]) != 1 || asked.Load() != 1 {
				t.Errorf("Date %q, asked %d times", a.Header["Date"], asked.Load())
			}
		}
	})
	t.Run("5861 3: stale-while-revalidate serves, and asks behind", func(t *testing.T) {
		t.Parallel()
		var n atomic.Int64
		g, asked := setup(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60, stale-while-revalidate=3600")
			if n.Add(1) == 1 {
				w.Header().Set("Age", "61")
			}
			fmt.Fprint(w, n.Load())
		})
		began := time.Now()
		g.do("GET", "/x")
		a := g.do("GET", "/x")
		if age, err := strconv.Atoi(a.Header.Get("Age")); a.text != "1" || err != nil || age < 61 || age > 62+int(time.Since(began).Seconds()) {
			t.Errorf("%q, Age %s", a.text, a.Header.Get("Age"))
		}
		eventually(t, "it is fetched behind", func() bool { return g.do("GET", "/x").text == "2" })
		if asked.Load() != 2 {
			t.Errorf("asked %d times", asked.Load())
		}
	})
	t.Run("9111 4.2.3: the time that the answer took is part of its age", func(t *testing.T) {
		t.Parallel()
		g, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", fresh)
			w.Header().Set("Age", "10")
			w.Header()["Date"] = nil
			time.Sleep(1100 * time.Millisecond) // the delay that is measured
		})
		g.do("GET", "/x")
		if age, _ := strconv.Atoi(g.do("GET", "/x").Header.Get("Age")); age < 11 {
			t.Errorf("Age %d", age)
		}
	})
	t.Run("3986 6.2.2: paths that are equivalent are one, others are not", func(t *testing.T) {
		t.Parallel()
		g, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", fresh)
			io.WriteString(w, r.RequestURI)
		})
		g.do("GET", "/a-b")
		for target, hit := range map[string]bool{"/a%2Db": true, "/x/../a-b": true, "/a-B": false, "/a-b/": false, "/a-b?": false, "/a%2fb": false} {
			if got := strings.Contains(g.do("GET", target).Header.Get("Cache-Status"), "; hit"); got != hit {
				t.Errorf("%s is a hit: %v", target, got)
			}
		}
	})
}
