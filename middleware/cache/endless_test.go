package cache_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/middleware/cache"
)

// What goes on until one side ends it is for one client: a later one would be given old events.
func TestEventStreamsAreNeitherStoredNorShared(t *testing.T) {
	t.Parallel()
	for _, contentType := range []string{"text/event-stream", "Text/Event-Stream; charset=utf-8", "multipart/x-mixed-replace;boundary=x"} {
		t.Run(contentType, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, withRule(cache.Rule{TTL: time.Minute, ForceTTL: time.Minute}))
			s.respond(func(w http.ResponseWriter, r *http.Request) {
				if s.calls.Load() == 1 {
					s.awaitWaiting(5) // all others wait for this one
				}
				w.Header().Set("Content-Type", contentType)
				w.Header().Set("Cache-Control", "public, max-age=60")
				io.WriteString(w, r.Header.Get("X-User"))
			})
			for i, a := range crowd(t, 5, func(i int) (*answer, error) {
				return s.try(context.Background(), "GET", "/events", fmt.Sprintf("X-User: u%d", i))
			}) {
				if want := fmt.Sprintf("u%d", i); a.body != want {
					t.Errorf("%s was answered %q", want, a.body)
				}
			}
			s.expectCalls(5)
			if a := s.get("/events", "X-User: later"); a.body != "later" || !strings.Contains(a.cacheStatus(), "hit-for-miss") {
				t.Errorf("%q, %s", a.body, a.cacheStatus())
			}
			if n := s.cache.Stats().LocalEntries; n != 0 {
				t.Errorf("%d are stored", n)
			}
		})
	}
}

// An event stream whose client leaves is ended at once, so that its connection to the origin comes free.
func TestEventStreamEndsWithItsClient(t *testing.T) {
	t.Parallel()
	s := newSite(t, withRule(cache.Rule{TTL: time.Minute}))
	ended := make(chan struct{})
	s.respond(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	res, err := s.client.Get(s.server.URL + "/events") // returns with the head
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	select {
	case <-ended:
	case <-time.After(redisPatience):
		t.Fatal("the origin still sends events, which no client reads")
	}
}
