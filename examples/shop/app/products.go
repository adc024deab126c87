package app

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const (
	topLimit = 50
	// shareTime is how long a page of products may be served from a cache. It is
	// long only until someone edits a product: then it is purged by its tag.
	shareTime = 60 * time.Second
	// productsTag is on every page that shows a product.
	productsTag = "products"
)

type homePage struct {
	Visitor  *user // nil: nobody is logged in
	Runs     []serverRuns
	Products []product
}

func (s *Server) home(w http.ResponseWriter, r *http.Request) error {
	page := homePage{}
	var err error
	if page.Visitor, err = s.visitor(r); err != nil {
		return err
	}
	if page.Runs, _, err = s.db.queryRuns(r.Context()); err != nil {
		return err
	}
	if page.Products, err = s.db.searchProducts(r.Context(), "", len(catalogue)); err != nil {
		return err
	}
	return s.render(w, r, http.StatusOK, "home", "", page)
}

// topList is the answer of the slow query.
type topList struct {
	Server string       `json:"server"`     // which app server ran it
	Run    int64        `json:"query_runs"` // how many times it had run with this one, on all of them
	Took   int64        `json:"took_ms"`
	Top    []bestSeller `json:"products"`
}

func (s *Server) top(r *http.Request) (topList, error) {
	began := time.Now()
	top, run, err := s.db.bestSellers(r.Context(), s.name, topLimit)
	return topList{Server: s.name, Run: run, Took: time.Since(began).Milliseconds(), Top: top}, err
}

func (s *Server) topPage(w http.ResponseWriter, r *http.Request) error {
	list, err := s.top(r)
	if err != nil {
		return err
	}
	shareFor(w.Header(), shareTime, productsTag)
	return s.render(w, r, http.StatusOK, "top", "Best sellers", list)
}

func (s *Server) topAPI(w http.ResponseWriter, r *http.Request) error {
	list, err := s.top(r)
	if err != nil {
		return err
	}
	shareFor(w.Header(), shareTime, productsTag)
	return renderJSON(w, list)
}

func (s *Server) productPage(w http.ResponseWriter, r *http.Request) error {
	id, err := productID(r.PathValue("id"))
	if err != nil {
		return err
	}
	p, err := s.db.product(r.Context(), id)
	if err != nil {
		return err
	}
	shareFor(w.Header(), shareTime, fmt.Sprintf("%s, product-%d", productsTag, id))
	return s.render(w, r, http.StatusOK, "product", p.Name, p)
}

// productID reads an ID as it stands in a path or a form. What is not one is
// not found, like an ID that nobody has.
func productID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, errNotFound
	}
	return id, nil
}
