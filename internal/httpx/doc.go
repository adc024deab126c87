// Package httpx is the grammar of HTTP that several packages need, each rule written once:
//
//	token.go     tokens, comma-separated field values, with and without quoted strings,
//	             and the hex digits of escapes and chunk sizes
//	path.go      the one normal form of a path, which is routed, keyed, purged and forwarded
//	host.go      the one normal form of a host
//	quality.go   q-values
//	coding.go    content codings, and what Accept-Encoding says of them
//	browser.go   who is a browser, and what is a CORS preflight
//	problem.go   RFC 9457 problem details
//
// It knows nothing of connections and messages: that is package http1.
package httpx
