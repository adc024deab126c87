package app

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// cents is an amount of money.
type cents int64

func (c cents) String() string {
	return "€ " + grouped(int64(c)/100) + fmt.Sprintf(".%02d", int64(c)%100)
}

// parseCents reads "12", "12.5" or "12.50".
func parseCents(text string) (cents, error) {
	whole, fraction, _ := strings.Cut(strings.TrimSpace(text), ".")
	if len(fraction) > 2 {
		return 0, badRequest("A price has at most two decimals.")
	}
	fraction += "00"[len(fraction):]
	n, err := strconv.ParseUint(whole+fraction, 10, 31)
	if err != nil || n == 0 {
		return 0, badRequest("A price is a positive number such as 12.50.")
	}
	return cents(n), nil
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// view is what the layout shows around every page.
type view struct {
	Server string // the app server that made the page
	Title  string
	Runs   int64 // of the slow query, by all app servers, as of now
	Page   any
}

// parsePages parses each page together with the layout.
func parsePages() (map[string]*template.Template, error) {
	layout, err := template.New("layout.html").Funcs(template.FuncMap{
		"grouped": grouped,
		"decimal": func(c cents) string { return fmt.Sprintf("%d.%02d", c/100, c%100) },
		"stars":   func(rating float64) int { return int(math.Round(rating * 20)) }, // per cent of five stars
		"share": func(part, whole int64) int64 {
			return part * 100 / max(whole, 1)
		},
		"shelf": shelf,
	}).ParseFS(templateFiles, "templates/layout.html")
	if err != nil {
		return nil, err
	}
	files, err := templateFiles.ReadDir("templates")
	if err != nil {
		return nil, err
	}
	pages := make(map[string]*template.Template)
	for _, file := range files {
		if file.Name() == "layout.html" {
			continue
		}
		page, err := layout.Clone()
		if err != nil {
			return nil, err
		}
		if page, err = page.ParseFS(templateFiles, "templates/"+file.Name()); err != nil {
			return nil, err
		}
		pages[strings.TrimSuffix(file.Name(), path.Ext(file.Name()))] = page
	}
	return pages, nil
}

// shelf is a category's place in the catalogue, which gives it its colour.
func shelf(category string) int {
	for i, c := range catalogue {
		if c.name == category {
			return i
		}
	}
	return 0
}

// render writes a page. It is made in full before the first byte is sent, so
// that an error can still become an answer of its own.
func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, name, title string, page any) error {
	_, runs, err := s.db.queryRuns(r.Context())
	if err != nil {
		return err
	}
	var body bytes.Buffer
	if err := s.pages[name].Execute(&body, view{Server: s.name, Title: title, Runs: runs, Page: page}); err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	write(w, status, "text/html; charset=utf-8", body.Bytes())
	return nil
}

func renderJSON(w http.ResponseWriter, value any) error {
	body, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("render JSON: %w", err)
	}
	write(w, http.StatusOK, "application/json", append(body, '\n'))
	return nil
}

func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if h.Get(headerTargeted) != "" {
		h.Set("Etag", etag(body))
	}
	w.WriteHeader(status)
	w.Write(body) // an error here means that the client has left, and nobody is there to be told
}

// etag is a strong validator: other bytes, another tag.
func etag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}
