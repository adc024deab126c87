package blocklist

import (
	"net/http"
	"net/netip"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/clientip"
	"github.com/labstack/echo/v4"
)

// Blocks returns the network that blocks a client, by its address or by the IPv4 address that a NAT64
// has put into it; false if none does.
func (l *List) Blocks(who clientip.Info) (netip.Prefix, bool) {
	network, found := l.Find(who.Addr)
	if !found && who.Addr.Is6() && who.Bucket.Is4() {
		return l.Find(who.Bucket)
	}
	return network, found
}

var refusal = httpx.Problem{
	Type: "about:blank", Status: http.StatusForbidden, Detail: "Requests from this network are refused.",
}.Render()

// Middleware answers requests of blocked clients with 403. It goes by what clientip's middleware, which must be in
// front of it, has found; without that no request is refused.
func (l *List) Middleware() echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if who, ok := clientip.FromContext(c.Request().Context()); ok {
				if _, blocked := l.Blocks(who); blocked {
					refusal.SetHeader(c.Response().Header(), "")
					refusal.Send(c.Response(), c.Request())
					return nil
				}
			}
			return next(c)
		}
	}
}
