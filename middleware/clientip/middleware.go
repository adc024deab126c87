package clientip

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// Middleware puts each request's [Info] into its context, for [FromContext]. It panics
// on Options that [New] refuses.
//
// It does not change c.RealIP(), which belongs to the Echo instance: see
// [Resolver.Extractor].
func Middleware(o Options) echo.MiddlewareFunc {
	res, err := New(o)
	if err != nil {
		panic(err)
	}
	return res.Middleware()
}

// Middleware is the package's Middleware for a Resolver that is there already.
func (res *Resolver) Middleware() echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			c.SetRequest(r.WithContext(NewContext(r.Context(), res.Info(r))))
			return next(c)
		}
	}
}

// Extractor makes c.RealIP() tell the truth, once it is assigned to an Echo's
// IPExtractor. Without one Echo believes what any client writes into X-Forwarded-For or
// X-Real-IP. Where the middleware has run, the answer is what it has found. A client
// without an address is "".
func (res *Resolver) Extractor() echo.IPExtractor {
	return func(r *http.Request) string {
		info, ok := FromContext(r.Context())
		if !ok {
			info.Addr = res.Resolve(r)
		}
		if !info.Addr.IsValid() {
			return ""
		}
		return info.Addr.String()
	}
}
