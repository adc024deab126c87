package app

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// What the gateway says about a request, and what a response may say to the
// gateway. These headers never reach a client, nor come from one.
const (
	headerUser    = "Headgate-User"          // in: the ID of who is logged in
	headerSession = "Headgate-Session"       // in: the session's data, JSON
	headerLogin   = "Headgate-Login"         // out: this user is logged in now
	headerMerge   = "Headgate-Session-Merge" // out: a JSON merge patch (RFC 7396) of the session's data
	headerLogout  = "Headgate-Logout"        // out: "session", or "everywhere"
)

// What a response says to any cache in front of it.
const (
	headerTargeted = "CDN-Cache-Control" // RFC 9213: for caches like the gateway's, over Cache-Control
	headerTag      = "Cache-Tag"         // what the page is about, so that it can be purged by that
)

// A cart line may hold this many of a product, and a cart this many lines: the
// session's data must fit in a header of 4 KiB.
const (
	maxQuantity  = 99
	maxCartLines = 50
)

// sessionData is what the shop keeps in the session.
type sessionData struct {
	Cart map[string]int `json:"cart"` // product ID to quantity
}

// cartOf returns the cart of the request's session, without what is not a
// cart line. No session, or one that does not parse, is an empty cart.
func cartOf(r *http.Request) map[int64]int {
	var data sessionData
	if err := json.Unmarshal([]byte(r.Header.Get(headerSession)), &data); err != nil {
		return nil
	}
	cart := make(map[int64]int, len(data.Cart))
	for key, quantity := range data.Cart {
		id, err := strconv.ParseInt(key, 10, 64)
		if err != nil || id < 1 || quantity < 1 || quantity > maxQuantity || len(cart) == maxCartLines {
			continue
		}
		cart[id] = quantity
	}
	return cart
}

// setCartLine has the gateway change one line of the cart; a quantity of 0
// removes it. A merge patch names this line alone, so two requests that change
// different lines at once both keep their change.
func setCartLine(h http.Header, product int64, quantity int) {
	line := "null"
	if quantity > 0 {
		line = strconv.Itoa(quantity)
	}
	h.Set(headerMerge, `{"cart":{"`+strconv.FormatInt(product, 10)+`":`+line+`}}`)
}

// shareFor lets shared caches keep the response for maxAge, for everyone, until
// one of its tags is purged. Within a grace after that a stale copy may be
// served while a fresh one is fetched, and longer while no app server answers.
//
// Browsers ask each time (Cache-Control: no-cache): the gateway can purge its
// own copy, not theirs, and answers them from that copy at once.
func shareFor(h http.Header, maxAge time.Duration, tags string) {
	h.Set("Cache-Control", "no-cache")
	h.Set(headerTargeted, "public, max-age="+strconv.Itoa(int(maxAge.Seconds()))+", stale-while-revalidate=30, stale-if-error=600")
	h.Set(headerTag, tags)
}

// keepPrivate marks a page that is made for one visitor, or for one moment.
func keepPrivate(h http.Header) {
	h.Set("Cache-Control", "private, no-store")
}
