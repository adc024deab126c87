package clientip_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/clientip"
)

func Example() {
	resolver, err := clientip.New(clientip.Options{
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	})
	if err != nil {
		panic(err)
	}
	e := echo.New()
	e.IPExtractor = resolver.Extractor()
	e.Use(resolver.Middleware())
	e.GET("/", func(c echo.Context) error {
		info, _ := clientip.FromContext(c.Request().Context())
		fmt.Println("client", info.Addr, "counted as", info.Bucket, "known to Echo as", c.RealIP())
		return c.NoContent(http.StatusNoContent)
	})

	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "10.0.0.1:40000"                                         // our load balancer
	r.Header.Set("X-Forwarded-For", "127.0.0.1, 2001:db8:1:2::7, 10.0.0.2") // the client's lie, and what our proxies appended
	e.ServeHTTP(httptest.NewRecorder(), r)
	// Output: client 2001:db8:1:2::7 counted as 2001:db8:1:2:: known to Echo as 2001:db8:1:2::7
}
