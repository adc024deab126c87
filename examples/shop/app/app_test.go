package app_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headgate/headgate/examples/shop/app"
)

// small keeps the tests quick: SQLite in Go under the race detector is slow.
var small = app.Size{Products: 120, Customers: 60, Orders: 500, Reviews: 200, PasswordIterations: 10}

func openSmall(t *testing.T) *app.Database {
	t.Helper()
	db, err := app.Open(t.Context(), filepath.Join(t.TempDir(), "shop.db"), small)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func newServer(t *testing.T, db *app.Database, name string) *app.Server {
	t.Helper()
	s, err := app.New(app.Options{Name: name, Database: db, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newShop(t *testing.T) *app.Server { return newServer(t, openSmall(t), "a") }

// request is what a gateway would send. Each option is "Name: value".
func request(method, target string, form url.Values, headers ...string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	return r
}

func do(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func get(h http.Handler, target string, headers ...string) *httptest.ResponseRecorder {
	return do(h, request(http.MethodGet, target, nil, headers...))
}

func post(h http.Handler, target string, form url.Values, headers ...string) *httptest.ResponseRecorder {
	return do(h, request(http.MethodPost, target, form, headers...))
}

const (
	asAda   = "Headgate-User: 42"
	asAdmin = "Headgate-User: 1"
)

func TestEveryPageSaysWhoMadeItAndHowOftenTheSlowQueryRan(t *testing.T) {
	t.Parallel()
	shop := newServer(t, openSmall(t), "shop-b")
	get(shop, "/products/top")
	get(shop, "/api/products/top")
	for _, page := range []string{"/", "/products/7", "/login", "/cart", "/admin", "/nowhere"} {
		w := get(shop, page, asAdmin)
		if got := w.Header().Get("Shop-Server"); got != "shop-b" {
			t.Errorf("%s: Shop-Server %q, want shop-b", page, got)
		}
		for _, want := range []string{"<strong>shop-b</strong>", "<strong>2</strong> times"} {
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s does not show %q", page, want)
			}
		}
	}
}

func TestPagesWorkWithoutScript(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	for _, page := range []string{"/", "/products/top", "/products/1", "/login", "/cart", "/admin"} {
		w := get(shop, page, asAdmin)
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d", page, w.Code)
		}
		if body := w.Body.String(); strings.Contains(body, "<script") || strings.Contains(body, "javascript:") {
			t.Errorf("%s has a script", page)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; style-src 'self'") {
			t.Errorf("%s: Content-Security-Policy %q", page, csp)
		}
	}
}

func TestStatusAndSharingByPage(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	for _, c := range []struct {
		target string
		status int
		shared bool
		tags   string
	}{
		{"/", 200, false, ""},
		{"/products/top", 200, true, "products"},
		{"/api/products/top", 200, true, "products"},
		{"/products/7", 200, true, "products, product-7"},
		{"/products/100000", 404, false, ""},
		{"/products/seven", 404, false, ""},
		{"/products/-7", 404, false, ""},
		{"/products/99999999999999999999", 404, false, ""},
		{"/login", 200, false, ""},
		{"/cart", 200, false, ""},
		{"/admin", 401, false, ""},
		{"/healthz", 200, false, ""},
		{"/nothing/here", 404, false, ""},
	} {
		w := get(shop, c.target)
		if w.Code != c.status {
			t.Errorf("%s: status %d, want %d", c.target, w.Code, c.status)
		}
		h := w.Header()
		if got := h.Get("Cache-Tag"); got != c.tags {
			t.Errorf("%s: Cache-Tag %q, want %q", c.target, got, c.tags)
		}
		targeted, control := h.Get("CDN-Cache-Control"), h.Get("Cache-Control")
		if c.shared {
			if !strings.HasPrefix(targeted, "public, max-age=60,") || control != "no-cache" || h.Get("Etag") == "" {
				t.Errorf("%s is not shared: Cache-Control %q, CDN-Cache-Control %q, Etag %q", c.target, control, targeted, h.Get("Etag"))
			}
		} else if targeted != "" || control != "private, no-store" {
			t.Errorf("%s may be shared: Cache-Control %q, CDN-Cache-Control %q", c.target, control, targeted)
		}
	}
}

// A shared page is served to everyone, so it must be the same for everyone.
func TestSharedPagesShowNothingOfTheVisitor(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	const page = "/products/7"
	anonymous := get(shop, page).Body.String()
	known := get(shop, page, asAda, `Headgate-Session: {"cart":{"7":3}}`).Body.String()
	if anonymous != known {
		t.Errorf("%s differs for a visitor who is logged in", page)
	}
	if top := get(shop, "/products/top", asAda).Body.String(); strings.Contains(top, "Ada") {
		t.Error("/products/top names the visitor")
	}
}

func TestStylesheetIsRevalidated(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	first := get(shop, "/static/shop.css")
	if first.Code != 200 || !strings.HasPrefix(first.Header().Get("Content-Type"), "text/css") {
		t.Fatalf("stylesheet: %d, %q", first.Code, first.Header().Get("Content-Type"))
	}
	if again := get(shop, "/static/shop.css", "If-None-Match: "+first.Header().Get("Etag")); again.Code != 304 {
		t.Errorf("with its Etag: %d, want 304", again.Code)
	}
}

func TestDatabaseErrorIsPlain500AndNeverShared(t *testing.T) {
	t.Parallel()
	db := openSmall(t)
	shop := newServer(t, db, "a")
	db.Close()
	for _, target := range []string{"/", "/products/top", "/api/products/top", "/products/1", "/cart"} {
		w := get(shop, target, asAda)
		if w.Code != http.StatusInternalServerError {
			t.Errorf("%s: status %d, want 500", target, w.Code)
		}
		if body := w.Body.String(); strings.Contains(body, "sql") || strings.Contains(body, "database") {
			t.Errorf("%s tells the client about the database: %s", target, body)
		}
		if h := w.Header(); h.Get("Cache-Control") != "private, no-store" && h.Get("Cache-Control") != "" || h.Get("CDN-Cache-Control") != "" || h.Get("Cache-Tag") != "" {
			t.Errorf("%s: an error may be shared: %v", target, h)
		}
	}
	if w := get(shop, "/healthz"); w.Code != 200 {
		t.Errorf("/healthz asks the database: %d", w.Code)
	}
}

func TestSlowQueryEndsWhenItsClientLeaves(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	ctx, leave := context.WithCancel(t.Context())
	leave()
	w := do(shop, request(http.MethodGet, "/products/top", nil).WithContext(ctx))
	if w.Body.Len() != 0 {
		t.Errorf("a client that left was answered: %s", w.Body)
	}
}

func TestNewWithoutDatabaseSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	if _, err := app.New(app.Options{}); err == nil || !strings.Contains(err.Error(), "app.Open") {
		t.Errorf("error %v does not say how to mend it", err)
	}
}
