// Package app is the app server of the shop example: what stands behind the
// gateway. It is an ordinary net/http program over an ordinary SQL database
// (SQLite in pure Go, so that nothing needs installing), and it knows nothing
// of Headgate but a handful of headers.
//
// Its "top 50 best-selling products" page runs a truly slow join: every order
// line ever sold, with its order, product, category and reviews, on every
// request. Nothing here caches, limits or remembers. That is the gateway's
// work, and each page says which app server made it and how many times the
// slow query has run, so that one can watch the gateway do it.
//
// # What it tells the gateway
//
// A page that is the same for everyone says so (CDN-Cache-Control, RFC 9213)
// and says what it is about (Cache-Tag). A login answers with Headgate-Login,
// a changed cart with Headgate-Session-Merge, a logout with Headgate-Logout.
//
// # What it believes
//
// Headgate-User and Headgate-Session are believed without a check: the gateway
// removes them from what clients send and sets them itself. So this server
// must be reachable by the gateway alone. The example listens on loopback, or
// in a container network whose app ports are not published; on anything wider,
// verify the gateway's signed assertion instead.
//
// # When things fail
//
// A database error is a plain 500 that says nothing of the database to the
// client and everything to the log. A session header that does not parse is an
// empty cart, not an error: a broken cart must not lock anyone out of the shop.
package app
