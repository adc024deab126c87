package blocklist_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"time"

	"github.com/headgate/headgate/middleware/blocklist"
	"github.com/headgate/headgate/middleware/clientip"
	"github.com/labstack/echo/v4"
)

// An operator blocks a network for an hour.
func Example() {
	resolver, err := clientip.New(clientip.Options{})
	if err != nil {
		panic(err)
	}
	list, err := blocklist.New(blocklist.Options{}) // with Redis: for all instances
	if err != nil {
		panic(err)
	}
	e := echo.New()
	e.Use(resolver.Middleware(), list.Middleware())
	e.GET("/", func(c echo.Context) error { return c.String(http.StatusOK, "hello") })

	if _, err := list.Add(context.Background(), blocklist.Block{Network: netip.MustParsePrefix("203.0.113.0/24"), Reason: "guesses passwords"}, time.Hour); err != nil {
		panic(err)
	}
	for _, client := range []string{"203.0.113.7:4711", "192.0.2.1:4711"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = client
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// 403
	// 200
}
