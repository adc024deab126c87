// Package pipeline takes a request through the stages of its route: the one description
// of what happens to a request.
//
// # How a request passes
//
// stages.go lists the stages in their order, with a line on each. [Pipeline.Serve] begins
// a [Request] for what the listener has read, runs the stages, and writes the answer of
// the one that ends the way; where none does, the cache or an app server has answered.
// The stages are handed the Request, which holds all that is known: what came, what the
// stages before have found, and the answer of the gateway's own, if there is one.
//
// A stage that needs more than the request asks the [Backends]: live ones, which
// stand beside their stages, ask Redis and the app servers, those of [Pipeline.Explain] (peek.go) look without consuming,
// and package replay has some that know what a log tells. So explain and replay run the
// stages that serve runs.
//
// response.go states what happens to an answer on its way back, and in which order.
// The end of a request is its record (record.go), of which package observe makes access
// log and metrics.
//
// # What is promised
//
// A request ends under the policy that it began with. Limits decide before a stage tells
// whether a session or an API key is missing, and what they refuse costs Redis nothing once it
// is remembered. A response that has begun and breaks off is never completed: the
// connection is cut, so that the client does not take it for the whole.
//
// # When things fail
//
// Answers of the gateway's own are problem details (RFC 9457), or grpc-status for gRPC
// clients (grpc.go). Without Redis, limits do what their on_redis_error says, optional
// sessions are anonymous, required ones get 503, and the app is served uncached.
package pipeline
