package session_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/middleware/store"
)

// requestOnce is what the gateway does for one request, its limits' script
// included where there is one.
func requestOnce(b *testing.B, m *session.Manager, batch *store.Batch, r *http.Request, calls ...*store.Call) {
	ctx := context.Background()
	rs := m.ForRequest(r, required)
	rs.Remembered()
	if batch != nil {
		rs.AddTo(batch)
		if len(calls) > 0 {
			_ = batch.Send(ctx, calls[0]) // Load returns its error
		}
	}
	if err := rs.Load(ctx); err != nil {
		b.Error(err)
	}
	if d := rs.Authorize(); !d.Pass() && len(r.Header["Cookie"]) > 0 {
		b.Error("not logged in")
	}
	rs.ForwardHeaders(http.Header{})
	if _, err := rs.Commit(ctx, session.Actions{}); err != nil {
		b.Error(err)
	}
}

func BenchmarkRequest(b *testing.B) {
	server := redistest.Start(b)
	redis := openRedis(b, server.URL)
	limit := store.NewScript(`return redis.call('INCR', KEYS[1])`)
	inRedis := newManager(b, session.Options{Redis: redis, Settings: session.Settings{Secrets: secrets("a")}})
	inMemory := newManager(b, session.Options{})
	var user, memoryUser browser
	user.start(b, inRedis, login).mustAnswer(session.HeaderLogin, "42", session.HeaderMerge, `{"cart":{"items":[1,2,3],"total":10.50}}`)
	memoryUser.start(b, inMemory, login).mustAnswer(session.HeaderLogin, "42", session.HeaderMerge, `{"cart":{"items":[1,2,3],"total":10.50}}`)

	request := func(by *browser) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "http://shop.example/", nil)
		if c := by.current(); c != nil {
			r.AddCookie(c)
		}
		return r
	}
	parallel := func(name string, f func(r *http.Request), by *browser) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				r := request(by)
				for pb.Next() {
					f(r)
				}
			})
		})
	}
	parallel("without cookie", func(r *http.Request) { requestOnce(b, inRedis, redis.NewBatch(), r) }, new(browser))
	parallel("limit alone", func(*http.Request) {
		if err := redis.Do(context.Background(), limit.Call([]string{"limit"})); err != nil {
			b.Error(err)
		}
	}, new(browser))
	parallel("session alone", func(r *http.Request) { requestOnce(b, inRedis, redis.NewBatch(), r) }, &user)
	parallel("session and limit in one trip", func(r *http.Request) {
		requestOnce(b, inRedis, redis.NewBatch(), r, limit.Call([]string{"limit"}))
	}, &user)
	parallel("session and limit one after the other", func(r *http.Request) {
		requestOnce(b, inRedis, nil, r)
		if err := redis.Do(context.Background(), limit.Call([]string{"limit"})); err != nil {
			b.Error(err)
		}
	}, &user)
	parallel("session in memory", func(r *http.Request) { requestOnce(b, inMemory, nil, r) }, &memoryUser)
}
