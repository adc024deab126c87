package proxy_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/proxy"
)

// appServer starts an app server that answers with its name.
func appServer(name string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s: %s for %s", name, r.URL.Path, r.Header.Get("X-Forwarded-Host"))
	}))
}

func request(e http.Handler, path string) string {
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest("GET", "http://app.example"+path, nil))
	return fmt.Sprint(w.Code, " ", w.Body)
}

// Requests below /api go to two app servers in turn.
func ExampleMiddleware() {
	blue, green := appServer("blue"), appServer("green")
	defer blue.Close()
	defer green.Close()

	e := echo.New()
	e.Group("/api", proxy.Middleware(proxy.Options{
		Config: proxy.Config{Servers: []proxy.Server{{URL: blue.URL}, {URL: green.URL}}},
		Logger: slog.Default(),
	}, proxy.RouteOptions{}))

	fmt.Println(request(e, "/api/a"))
	fmt.Println(request(e, "/api/b"))
	fmt.Println(request(e, "/api/c"))
	// Output:
	// 200 blue: /api/a for app.example
	// 200 green: /api/b for app.example
	// 200 blue: /api/c for app.example
}

// An app that takes over from an older one, route by route: what it has no
// route for yet is forwarded.
func ExampleHandler_Echo() {
	old := appServer("old")
	defer old.Close()
	u, err := proxy.New(proxy.Options{
		Config: proxy.Config{Servers: []proxy.Server{{URL: old.URL}}},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	defer u.Close()

	e := echo.New()
	e.GET("/cart", func(c echo.Context) error { return c.String(http.StatusOK, "new: /cart") })
	e.RouteNotFound("/*", u.Handler(proxy.RouteOptions{}).Echo)

	fmt.Println(request(e, "/cart"))
	fmt.Println(request(e, "/checkout"))
	// Output:
	// 200 new: /cart
	// 200 old: /checkout for app.example
}

// Without Echo, the caller of Forward decides what a failure looks like.
func ExampleHandler_Forward() {
	gone := appServer("gone")
	gone.Close()
	u, err := proxy.New(proxy.Options{
		Name:   "shop",
		Config: proxy.Config{Servers: []proxy.Server{{URL: gone.URL}}},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	defer u.Close()

	shop := u.Handler(proxy.RouteOptions{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := shop.Forward(w, r)
		if failure := (*proxy.Error)(nil); errors.As(err, &failure) {
			w.WriteHeader(failure.Status)
			_, _ = io.WriteString(w, string(failure.Kind)+": "+failure.Detail())
		}
	})
	fmt.Println(request(h, "/"))
	// Output: 502 connect: No app server could answer.
}
