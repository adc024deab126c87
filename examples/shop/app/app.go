package app

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"time"
)

//go:embed templates
var templateFiles embed.FS

//go:embed static/shop.css
var stylesheet []byte

// Options configure an app server. Database is required.
type Options struct {
	// Name tells app servers apart, on the pages and in the Shop-Server response
	// header; "shop" when empty.
	Name string
	// Database may be shared with other app servers.
	Database *Database
	// Jobs is where work off the request is enqueued; the zero value: orders are not taken.
	Jobs Jobs
	// Logger takes what the client is not told; nil discards.
	Logger *slog.Logger
}

// Server is one app server: an http.Handler, safe for concurrent use.
type Server struct {
	name    string
	db      *Database
	jobs    Jobs
	log     *slog.Logger
	pages   map[string]*template.Template
	handler http.Handler

	// decoy is checked when no such user exists, so that the time an answer
	// takes does not tell which logins there are.
	decoy string
}

// New returns an app server.
func New(o Options) (*Server, error) {
	if o.Database == nil {
		return nil, errors.New("shop app: Options.Database is missing; open one with app.Open")
	}
	s := &Server{name: o.Name, db: o.Database, jobs: o.Jobs, log: o.Logger}
	if s.name == "" {
		s.name = "shop"
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.pages, err = parsePages(); err != nil {
		return nil, fmt.Errorf("shop app: %w", err)
	}
	if err := s.db.read.QueryRow("SELECT password FROM users ORDER BY id LIMIT 1").Scan(&s.decoy); err != nil {
		return nil, fmt.Errorf("shop app: read users: %w", err)
	}
	s.handler = s.headers(s.routes())
	return s, nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(pattern string, h func(http.ResponseWriter, *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := h(w, r); err != nil {
				s.fail(w, r, err)
			}
		})
	}
	handle("GET /{$}", s.home)
	handle("GET /products/top", s.topPage)
	handle("GET /api/products/top", s.topAPI)
	handle("GET /products/{id}", s.productPage)
	handle("GET /login", s.loginForm)
	handle("POST /login", s.login)
	handle("POST /logout", s.logout)
	handle("GET /cart", s.cartPage)
	handle("POST /cart", s.changeCart)
	handle("POST /order", s.order)
	handle("GET /admin", s.adminPage)
	handle("POST /admin/best-sellers", s.rebuild)
	handle("POST /tasks/confirmation", s.sendConfirmation)
	handle("POST /tasks/best-sellers", s.buildTable)
	handle("POST /admin/products/{id}", s.editProduct)
	handle("GET /static/shop.css", s.css)
	handle("GET /healthz", s.health)
	handle("GET /", func(http.ResponseWriter, *http.Request) error { return errNotFound })
	return mux
}

// headers sets what every response has, and bounds what a form may be.
func (s *Server) headers(next http.Handler) http.Handler {
	const maxForm = 64 << 10
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Shop-Server", s.name)
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		keepPrivate(h) // until a page says that it may be shared
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		next.ServeHTTP(w, r)
	})
}

// health says that this process answers. It asks the database nothing: behind
// a few slow queries the check would wait for a connection, and a busy server
// would be taken for a dead one.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) error {
	write(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
	return nil
}

func (s *Server) css(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", "text/css; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("Etag", etag(stylesheet))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(stylesheet))
	return nil
}

// badRequest is an error whose text the client is shown.
type badRequest string

func (e badRequest) Error() string { return string(e) }

// fail answers a request that a handler could not, and has not begun to.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	page := errorPage{Status: http.StatusInternalServerError, Text: "Something went wrong on our side."}
	var bad badRequest
	switch {
	case errors.Is(err, errNotFound):
		page = errorPage{Status: http.StatusNotFound, Text: "There is nothing here."}
	case errors.Is(err, errForbidden):
		page = errorPage{Status: http.StatusForbidden, Text: "Only the shopkeeper may do this."}
	case errors.Is(err, errNotLoggedIn):
		page = errorPage{Status: http.StatusUnauthorized, Text: "Log in first."}
	case errors.As(err, &bad):
		page = errorPage{Status: http.StatusBadRequest, Text: bad.Error()}
	case r.Context().Err() != nil:
		return // the client has gone, and with it the query that failed
	default:
		s.log.Error("request failed", "server", s.name, "method", r.Method, "path", r.URL.Path, "err", err)
	}
	keepPrivate(w.Header())
	w.Header().Del(headerTargeted)
	w.Header().Del(headerTag)
	if err := s.render(w, r, page.Status, "error", "", page); err != nil {
		s.log.Error("error page failed", "server", s.name, "err", err)
		http.Error(w, http.StatusText(page.Status), page.Status)
	}
}

type errorPage struct {
	Status int
	Text   string
}
