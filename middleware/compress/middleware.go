package compress

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// Options configure [Middleware]. The zero Options compress what gains by it.
type Options struct {
	Compression

	// MaxBytes is the most that encoders take which are at work; responses beyond that are not compressed. 0: 64 MiB.
	MaxBytes int64

	// Secret reports whether the response to a request may hold a user's secrets. Nil: [SecretRequest].
	Secret func(*http.Request) bool
}

// Middleware compresses what the handlers behind it write. It panics if the options are wrong, as that is the program's mistake.
//
// An error that a handler returns before it has written anything is not compressed.
func Middleware(o Options) echo.MiddlewareFunc {
	rule, err := Compile(o.Compression, NewEncoders(o.MaxBytes))
	if err != nil {
		panic(err)
	}
	if o.Secret == nil {
		o.Secret = func(r *http.Request) bool { return SecretRequest(r.Header) }
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error { return rule.serve(c, o.Secret(c.Request()), next) }
	}
}

func (r *Rule) serve(c echo.Context, secret bool, next echo.HandlerFunc) (err error) {
	res := c.Response()
	inner := res.Writer
	w := r.NewWriter(inner, c.Request(), secret)
	res.Writer = w
	returned := false
	defer func() {
		if !returned || err != nil {
			w.Abort() // a client must not take a part for the whole
		}
		res.Writer = inner
		w.Release()
	}()
	if req := c.Request(); Marked(req.Header) {
		req = req.Clone(req.Context())
		w.TakeMarks(req.Header)
		c.SetRequest(req)
	}
	if err = next(c); err == nil {
		_ = w.End() // the client may be gone
	}
	returned = true
	return err
}
