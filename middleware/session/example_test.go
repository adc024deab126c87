package session_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/session"
)

// A cart that survives the login. With Options.Redis set, all instances of the
// app share the sessions, and so does a gateway on the same Redis with the same
// key prefix and secrets.
func Example() {
	sessions, err := session.New(session.Options{})
	if err != nil {
		panic(err)
	}
	e := echo.New()
	e.POST("/cart", func(c echo.Context) error {
		s, err := session.Get(c)
		if err != nil {
			return err
		}
		s.Values["cart"] = c.QueryParam("item")
		if err := session.Save(c, s); err != nil {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	}, sessions.Middleware(session.Route{Mode: session.Optional}))
	e.POST("/login", func(c echo.Context) error {
		if err := session.LogIn(c, "alice"); err != nil { // after her password was checked
			return err
		}
		return c.NoContent(http.StatusNoContent)
	}, sessions.Middleware(session.Route{Mode: session.Login}))
	e.GET("/", func(c echo.Context) error {
		s, err := session.Get(c)
		if err != nil {
			return err
		}
		return c.String(http.StatusOK, fmt.Sprintf("%s has a %v", session.Current(c).User, s.Values["cart"]))
	}, sessions.Middleware(session.Route{Mode: session.Required}))

	var cookie *http.Cookie
	for _, step := range []string{"GET /", "POST /cart?item=duck", "POST /login", "GET /"} {
		var method, target string
		fmt.Sscan(step, &method, &target)
		r, w := httptest.NewRequest(method, target, nil), httptest.NewRecorder()
		if cookie != nil {
			r.AddCookie(cookie)
		}
		e.ServeHTTP(w, r)
		for _, given := range w.Result().Cookies() {
			cookie = given
		}
		fmt.Println(strings.TrimSpace(fmt.Sprint(step, " ", w.Code, " ", w.Body.String())))
	}
	// Output:
	// GET / 401 {"message":"a session is required"}
	// POST /cart?item=duck 204
	// POST /login 204
	// GET / 200 alice has a duck
}
