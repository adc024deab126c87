package app

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
)

type cartLine struct {
	product
	Quantity int
	Sum      cents
}

type cartView struct {
	Visitor *user
	Lines   []cartLine
	Total   cents
	Orders  bool // they are taken
}

func (s *Server) cartPage(w http.ResponseWriter, r *http.Request) error {
	page := cartView{Orders: s.jobs.URL != nil}
	var err error
	if page.Visitor, err = s.visitor(r); err != nil {
		return err
	}
	cart := cartOf(r)
	ids := slices.Sorted(maps.Keys(cart))
	products, err := s.db.products(r.Context(), ids)
	if err != nil {
		return err
	}
	for _, id := range ids {
		p, ok := products[id]
		if !ok {
			continue // no longer sold
		}
		sum := p.Price * cents(cart[id])
		page.Lines = append(page.Lines, cartLine{product: p, Quantity: cart[id], Sum: sum})
		page.Total += sum
	}
	return s.render(w, r, http.StatusOK, "cart", "Your cart", page)
}

// changeCart sets the quantity of one product; 0 takes it out of the cart.
func (s *Server) changeCart(w http.ResponseWriter, r *http.Request) error {
	id, err := productID(r.PostFormValue("product"))
	if err != nil {
		return err
	}
	quantity, err := strconv.Atoi(r.PostFormValue("quantity"))
	if err != nil || quantity < 0 || quantity > maxQuantity {
		return badRequest(fmt.Sprintf("A quantity is a number from 0 to %d.", maxQuantity))
	}
	if quantity > 0 {
		if _, err := s.db.product(r.Context(), id); err != nil {
			return err
		}
		if cart := cartOf(r); cart[id] == 0 && len(cart) >= maxCartLines {
			return badRequest(fmt.Sprintf("A cart holds %d different products.", maxCartLines))
		}
	}
	setCartLine(w.Header(), id, quantity)
	http.Redirect(w, r, "/cart", http.StatusSeeOther)
	return nil
}
