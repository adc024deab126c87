package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/proxy"
)

// twoServers is the app over two app servers of its own.
func twoServers(t *testing.T) *echo.Echo {
	t.Helper()
	var urls []string
	for _, name := range []string{"app 1", "app 2"} {
		app := startAppServer(name)
		t.Cleanup(app.Close)
		urls = append(urls, app.URL)
	}
	apps, err := openUpstream(urls)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(apps.Close)
	return newApp(apps)
}

func ask(e *echo.Echo, method, path string) (status int, body string) {
	r := httptest.NewRequest(method, path, nil)
	r.RemoteAddr = "192.0.2.7:40000"
	r.Header.Set("X-Forwarded-For", "203.0.113.66") // the client's own word
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestServersTakeTurnsAndAreToldWhoAsks(t *testing.T) {
	t.Parallel()
	e := twoServers(t)
	for i, want := range []string{"app 1", "app 2", "app 1", "app 2"} {
		if status, body := ask(e, http.MethodGet, "/"); status != 200 || body != "hello from "+want+", client 192.0.2.7\n" {
			t.Errorf("request %d: %d %q, want %s", i+1, status, body, want)
		}
	}
}

func TestServerThatStopsCostsNoClientAnError(t *testing.T) {
	t.Parallel()
	e := twoServers(t)
	if status, body := ask(e, http.MethodPost, "/stop"); status != 200 || body != "app 1 stops\n" {
		t.Fatalf("%d %q", status, body)
	}
	for i := range 20 {
		if status, body := ask(e, http.MethodGet, "/"); status != 200 || !strings.HasPrefix(body, "hello from app 2") {
			t.Errorf("request %d: %d %q", i+1, status, body)
		}
	}
	status, body := ask(e, http.MethodGet, "/upstream")
	var servers []proxy.ServerStatus
	if err := json.Unmarshal([]byte(body), &servers); err != nil || status != 200 || len(servers) != 2 {
		t.Fatalf("%d %q: %v", status, body, err)
	}
	if servers[0].Healthy || servers[0].Ejections == 0 || !servers[1].Healthy {
		t.Errorf("%+v", servers)
	}
}

func TestAppRunsUntilItIsTold(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	if err := run(ctx, "127.0.0.1:0", nil); err != nil {
		t.Error(err)
	}
	if err := run(t.Context(), "127.0.0.1:0", []string{"ftp://app"}); err == nil {
		t.Error("started with a server that does not speak HTTP")
	}
}
