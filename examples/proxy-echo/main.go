// Proxy-echo is an Echo app of your own with Headgate's proxy as middleware:
// it answers one path itself, and forwards the others to a group of app
// servers that it balances over, watches, and retries on.
//
//	go run ./examples/proxy-echo
//	go run ./examples/proxy-echo http://127.0.0.1:3000 http://127.0.0.1:3001
//
//	curl -s http://127.0.0.1:8093/              "hello from app 1", then app 2, then app 1
//	curl -s -X POST http://127.0.0.1:8093/stop  the app server that answers this stops
//	curl -s 'http://127.0.0.1:8093/?[1-6]'      all of them from the other
//	curl -s http://127.0.0.1:8093/upstream      how each server is
//
// Without arguments it starts two app servers of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/proxy"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, "127.0.0.1:8093", os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "proxy-echo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr string, servers []string) error {
	if len(servers) == 0 {
		for _, name := range []string{"app 1", "app 2"} {
			app := startAppServer(name)
			defer app.Close()
			servers = append(servers, app.URL)
		}
	}
	apps, err := openUpstream(servers)
	if err != nil {
		return err
	}
	defer apps.Close()

	e := newApp(apps)
	context.AfterFunc(ctx, func() { e.Close() })
	fmt.Printf("try several times: curl -si http://%s/\n", addr)
	if err := e.Start(addr); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// openUpstream returns the group of app servers. A request that can safely be
// repeated is tried on another server when one fails.
func openUpstream(servers []string) (*proxy.Upstream, error) {
	o := proxy.Options{
		Name:   "apps",
		Config: proxy.Config{Retries: 1, Timeout: 10 * time.Second},
		Logger: slog.Default(),
	}
	for _, url := range servers {
		o.Config.Servers = append(o.Config.Servers, proxy.Server{URL: url})
	}
	return proxy.New(o)
}

func newApp(apps *proxy.Upstream) *echo.Echo {
	e := echo.New()
	e.HideBanner = true
	e.HidePort = true

	// The app's own route.
	e.GET("/upstream", func(c echo.Context) error { return c.JSONPretty(http.StatusOK, apps.Status(), "  ") })

	// Everything else, whatever the method. The app servers are told the
	// client's address, host and scheme in X-Forwarded-*, and what a client
	// writes into these fields never reaches them.
	e.RouteNotFound("/*", apps.Handler(proxy.RouteOptions{}).Echo)
	return e
}

// startAppServer starts what stands behind the app. POST /stop ends it as a
// crash would: the connections break off.
func startAppServer(name string) *httptest.Server {
	var app *httptest.Server
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from %s, client %s\n", name, r.Header.Get("X-Forwarded-For"))
	})
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s stops\n", name)
		_ = app.Listener.Close()
		app.Config.SetKeepAlivesEnabled(false) // closes idle connections, and this one after the response
	})
	app = httptest.NewServer(mux)
	return app
}
