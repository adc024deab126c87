// Package admin is the listener for operators: health, metrics, and what can
// be seen and changed in a running gateway.
//
// A request passes the guard first. With a token, everything but /livez and
// /readyz needs it as a bearer token. Without one the listener is on loopback,
// where the danger is the operator's own browser: a page of another site may
// send requests here, also under a name of its own that resolves to
// 127.0.0.1 (DNS rebinding). So a Host that is not loopback, any Origin, and a
// cross-site Sec-Fetch-Site are refused.
//
// The package knows nothing of how a gateway works; [Options] holds what it asks.
package admin
