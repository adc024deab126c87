package app

import (
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"
)

const (
	searchLimit   = 20
	maxNameLength = 80 // characters
)

type adminView struct {
	Visitor  *user
	Search   string
	Products []product
	Runs     []serverRuns
	Table    bestSellerTable
	Jobs     bool // there is a gateway to enqueue at
}

func (s *Server) adminPage(w http.ResponseWriter, r *http.Request) error {
	admin, err := s.admin(r)
	if err != nil {
		return err
	}
	page := adminView{Visitor: admin, Search: strings.TrimSpace(r.URL.Query().Get("q"))}
	if page.Products, err = s.db.searchProducts(r.Context(), page.Search, searchLimit); err != nil {
		return err
	}
	if page.Runs, _, err = s.db.queryRuns(r.Context()); err != nil {
		return err
	}
	page.Jobs = s.jobs.URL != nil
	if page.Table, err = s.table(); err != nil {
		return err
	}
	return s.render(w, r, http.StatusOK, "admin", "Back office", page)
}

// editProduct changes a product. That pages about products are now out of date
// is not said here: the policy says that a successful POST to this route purges
// the tag "products", on every gateway, before this answer reaches the browser.
func (s *Server) editProduct(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.admin(r); err != nil {
		return err
	}
	id, err := productID(r.PathValue("id"))
	if err != nil {
		return err
	}
	name := strings.Join(strings.Fields(r.PostFormValue("name")), " ")
	if n := utf8.RuneCountInString(name); n == 0 || n > maxNameLength || !utf8.ValidString(name) {
		return badRequest(fmt.Sprintf("A name has 1 to %d characters.", maxNameLength))
	}
	price, err := parseCents(r.PostFormValue("price"))
	if err != nil {
		return err
	}
	if err := s.db.editProduct(r.Context(), id, name, price); err != nil {
		return err
	}
	http.Redirect(w, r, "/products/top", http.StatusSeeOther)
	return nil
}

func (s *Server) admin(r *http.Request) (*user, error) {
	u, err := s.visitor(r)
	switch {
	case err != nil:
		return nil, err
	case u == nil:
		return nil, errNotLoggedIn
	case u.Role != roleAdmin:
		return nil, errForbidden
	}
	return u, nil
}
