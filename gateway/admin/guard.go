package admin

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/labstack/echo/v4"
)

// guard admits operators alone, as the package's documentation says, and apps that enqueue with their own token.
func guard(token string, jobsToken func() string) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			switch {
			case r.URL.Path == "/livez" || r.URL.Path == "/readyz" && !r.URL.Query().Has("verbose"):
			case jobsToken != nil && enqueues(c) && jobsToken() != "" && hasToken(r, jobsToken()):
			case token != "":
				if !hasToken(r, token) {
					c.Response().Header().Set("WWW-Authenticate", `Bearer realm="headgate admin"`)
					return echo.NewHTTPError(http.StatusUnauthorized, "The admin API needs its token: Authorization: Bearer TOKEN, as server.admin.token has it.")
				}
			default:
				if why := foreign(r); why != "" {
					return echo.NewHTTPError(http.StatusForbidden, why+" Set server.admin.token to use the admin API from elsewhere.")
				}
			}
			return next(c)
		}
	}
}

func bearer(h http.Header) string {
	scheme, token, _ := strings.Cut(h.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// foreign says why a request may come from another site's page, or nothing.
func foreign(r *http.Request) string {
	if !loopback(r.Host) {
		return "The Host of this request is not loopback."
	}
	if len(r.Header.Values("Origin")) > 0 {
		return "This request comes from a web page."
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return ""
	}
	return "This request comes from another site."
}

func loopback(host string) bool {
	name := httpx.HostName(host)
	if name == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && ip.Unmap().IsLoopback()
}
