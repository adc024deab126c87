package server

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/policies"
	"github.com/labstack/echo/v4"
)

// Answers that the gateway gives itself because the policy says so.

// ownAnswer is an answer that no app server has a part in. The session's due
// is done first: a logout route may be a redirect.
func (rt *route) ownAnswer(write echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		x := exchangeOf(c)
		if err := x.endSession(c); err != nil {
			return err
		}
		applyHeaderRules(c.Response().Header(), rt.policy.ResponseHeaders)
		return write(c)
	}
}

// redirect answers with a Location, keeping the query unless it has its own.
func redirect(p *policies.Redirect) echo.HandlerFunc {
	return func(c echo.Context) error {
		to, fragment, marked := strings.Cut(exchangeOf(c).match.Expand(p.To), "#")
		if query := c.Request().URL.RawQuery; query != "" && !strings.Contains(to, "?") {
			to += "?" + query
		}
		if marked {
			to += "#" + fragment
		}
		c.Response().Header().Set("Location", to)
		return c.NoContent(p.Status)
	}
}

// respond answers with the same response every time.
func respond(p *policies.Respond) echo.HandlerFunc {
	body := []byte(p.Body)
	return func(c echo.Context) error {
		if len(body) == 0 {
			return c.NoContent(p.Status)
		}
		h := c.Response().Header()
		h.Set("Content-Type", p.ContentType)
		h.Set("Content-Length", strconv.Itoa(len(body)))
		c.Response().WriteHeader(p.Status)
		if c.Request().Method == http.MethodHead {
			return nil
		}
		_, err := c.Response().Write(body)
		return err
	}
}

// maintenance answers 503 to everybody but a few.
type maintenance struct {
	allow      []netip.Prefix
	retryAfter string
	page       []byte
}

func newMaintenance(p *policies.Maintenance) *maintenance {
	m := &maintenance{
		allow:      p.Allow,
		retryAfter: strconv.FormatInt(int64(p.RetryAfter/time.Second), 10),
		page:       []byte(p.Body),
	}
	if len(m.page) == 0 {
		m.page = []byte(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Back soon</title>` +
			`<body style="font:18px/1.5 system-ui,sans-serif;margin:15vh auto;max-width:32em;padding:0 1em">` +
			`<h1>Back soon</h1><p>This site is being worked on. Please try again in a few minutes.`)
	}
	return m
}

func (m *maintenance) lets(addr netip.Addr) bool {
	for _, p := range m.allow {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// inMaintenance answers in the app's place while work goes on.
func (rt *route) inMaintenance(next echo.HandlerFunc) echo.HandlerFunc {
	m := rt.maintenance
	if m == nil {
		return next
	}
	return func(c echo.Context) error {
		if m.lets(exchangeOf(c).Info.Addr) {
			return next(c)
		}
		if !httpx.IsBrowser(c.Request().Header) {
			return refuse(http.StatusServiceUnavailable, "This service is being worked on.").with("Retry-After", m.retryAfter)
		}
		h := c.Response().Header()
		h.Set("Retry-After", m.retryAfter)
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Type", "text/html; charset=utf-8")
		c.Response().WriteHeader(http.StatusServiceUnavailable)
		if c.Request().Method == http.MethodHead {
			return nil
		}
		if _, err := c.Response().Write(m.page); err != nil {
			return fmt.Errorf("maintenance page: %w", err)
		}
		return nil
	}
}
