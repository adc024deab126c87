package proxy

import (
	"context"
	"time"
)

// Record tells an access log how a request was forwarded. The caller puts one
// into the request's context, and reads it after the handler has returned or
// panicked, in the same goroutine. It stays empty for a request that no server
// was chosen for.
type Record struct {
	// Server is the URL of the server that was tried last.
	Server string
	// Attempts is how many servers were tried.
	Attempts int
	// Kind says why the last attempt failed, also if the handler panicked
	// because the response broke off. Empty: it did not fail.
	Kind Kind
	// Header is the time from the last attempt's start to the response's header.
	Header time.Duration
}

type recordKey struct{}

// NewContext returns a context in which the forwarding of the request is
// recorded.
func NewContext(ctx context.Context, rec *Record) context.Context {
	return context.WithValue(ctx, recordKey{}, rec)
}

func recordFrom(ctx context.Context) *Record {
	rec, _ := ctx.Value(recordKey{}).(*Record)
	return rec
}
