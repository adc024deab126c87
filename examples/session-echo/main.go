// Session-echo is an Echo app of your own that shares its sessions with a
// gateway: who logged in there is known here, though requests don't come
// through it, and what one writes the other reads. It works alone as well.
//
//	REDIS_URL=redis://127.0.0.1:6379 go run ./examples/session-echo
//
//	curl -si -c jar -d user=ada http://127.0.0.1:8091/login
//	curl -s -b jar http://127.0.0.1:8091/
//
// To share with a gateway both need the same Redis, the same key prefix, the
// same cookie and, where the cookie is signed, the same secrets.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/middleware/store"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, "127.0.0.1:8091", os.Getenv("REDIS_URL")); err != nil {
		fmt.Fprintln(os.Stderr, "session-echo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr, redisURL string) error {
	manager, closeManager, err := openSessions(store.Options{URL: redisURL, Logger: slog.Default()})
	if err != nil {
		return err
	}
	defer closeManager()

	e := newApp(manager)
	context.AfterFunc(ctx, func() { e.Close() })
	fmt.Printf("try: curl -si -c jar -d user=ada http://%s/login && curl -s -b jar http://%s/\n", addr, addr)
	if err := e.Start(addr); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// openSessions returns the sessions: those in Redis, or without a URL in this
// process.
func openSessions(where store.Options) (*session.Manager, func(), error) {
	o := session.Options{
		Settings: session.Settings{
			// The example speaks plain HTTP; leave this out behind TLS.
			Cookie: session.CookieOptions{Insecure: true},
		},
		Logger: slog.Default(),
	}
	closeRedis := func() {}
	if where.URL != "" {
		redis, err := store.Open(where)
		if err != nil {
			return nil, nil, err
		}
		o.Redis, closeRedis = redis, func() { redis.Close() }
	}
	manager, err := session.New(o)
	if err != nil {
		closeRedis()
		return nil, nil, err
	}
	return manager, closeRedis, nil
}

func newApp(sessions *session.Manager) *echo.Echo {
	e := echo.New()
	e.HideBanner = true
	e.HidePort = true
	e.GET("/", visit, sessions.Middleware(session.Route{Mode: session.Optional}))
	e.GET("/mine", mine, sessions.Middleware(session.Route{Mode: session.Required}))
	e.POST("/login", logIn, sessions.Middleware(session.Route{Mode: session.Login}))
	e.POST("/logout", logOut, sessions.Middleware(session.Route{Mode: session.Logout}))
	return e
}

// visit counts in the session how often it was called, with gorilla's own API:
// Get, Values, Save. A visitor without a session is given one.
func visit(c echo.Context) error {
	s, err := session.Get(c)
	if err != nil {
		return err
	}
	n, _ := s.Values["visits"].(json.Number) // JSON's types, whoever wrote it
	before, _ := n.Int64()                   // 0 at the first visit
	s.Values["visits"] = before + 1
	if err := s.Save(c.Request(), c.Response()); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]any{"user": userOf(c), "visits": before + 1})
}

// mine is for users alone: the middleware has answered all others.
func mine(c echo.Context) error {
	return c.String(http.StatusOK, "yours, "+userOf(c)+"\n")
}

// logIn believes whoever comes. A real one checks a password first.
func logIn(c echo.Context) error {
	user := c.FormValue("user")
	if user == "" {
		return echo.NewHTTPError(http.StatusBadRequest, "who are you? Send user=...")
	}
	// The session gets a new ID, and keeps what an anonymous visitor had in it.
	if err := session.LogIn(c, user); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// logOut finds the session ended: a logout route ends it before the handler.
func logOut(c echo.Context) error {
	return c.NoContent(http.StatusNoContent)
}

func userOf(c echo.Context) string {
	if s := session.Current(c); s != nil {
		return s.User
	}
	return ""
}
