package pipeline

import (
	"net/http"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/compress"
)

// bindCompress makes the route's rule of what is compressed. A redirect has nothing to compress.
func (rt *Route) bindCompress() (err error) {
	if rt.Policy.Compress == nil || rt.Policy.Redirect != nil {
		return nil
	}
	rt.compress, err = compress.Compile(*rt.Policy.Compress, rt.pipeline.parts.Encoders)
	return err
}

// compressAnswer has what is written from here on compressed, where client and answer are for it. The cache and the app server
// compare entity tags of their own: the marks of compressed answers are taken from the request's conditions.
func compressAnswer(r *Request) *Answer {
	r.takeOwnCookies()
	if r.echo == nil {
		return nil // an explanation, or a replay
	}
	res := r.echo.Response()
	r.compressed = r.Route.compress.NewWriter(res.Writer, r.http, r.mayHoldSecrets())
	r.compressed.TakeMarks(r.Header)
	res.Writer = r.compressed
	return nil
}

// mayHoldSecrets reports whether the answer to a request may be one user's: then its length could tell of it (BREACH).
func (r *Request) mayHoldSecrets() bool {
	if r.Client != nil || r.ref != "" {
		return true
	}
	if !compress.SecretRequest(r.Header) {
		return false
	}
	return len(r.Header["Authorization"]) > 0 || len(r.Header["X-Api-Key"]) > 0 || r.Route.cache == nil || r.Route.cache.HasCookies(r.Header)
}

// identityAlone is the Accept-Encoding that app servers get on cached routes whose answers are compressed: what is stored is
// not encoded, and the gateway makes every encoding of it.
var identityAlone = []string{httpx.Identity.String()}

// encodes reports whether the app server is asked for answers that are not encoded.
func (rt *Route) encodes() bool {
	return rt.compress != nil && rt.cache != nil && rt.Policy.Cache != ""
}

// endCompression completes a compressed response, or gives up one that breaks off.
func (r *Request) endCompression(aborted bool) {
	switch w := r.compressed; {
	case w == nil:
	case aborted:
		w.Abort()
	default:
		_ = w.End() // the client may be gone
	}
}

// releaseCompression gives the Writer back when the record is made.
func (r *Request) releaseCompression() {
	if w := r.compressed; w != nil {
		r.echo.Response().Writer = w.Unwrap()
		r.compressed = nil
		w.Release()
	}
}

// explainCompress says whether and how the answer would be compressed.
func explainCompress(r *Request, e *Explanation) {
	coding, _ := compress.Negotiate(r.Header["Accept-Encoding"])
	switch {
	case r.mayHoldSecrets() && !r.Route.Policy.Compress.Private:
		e.Compress = "no: the answer may hold a user's secrets, and compress.private is false"
	case httpx.HasToken(r.Header["Cache-Control"], "no-transform"):
		e.Compress = "no: the request says no-transform"
	case coding == httpx.Identity:
		e.Compress = "no: the client accepts none of br, zstd and gzip, or prefers identity"
	default:
		e.Compress = coding.String() + ", where the answer's type and length are for it"
	}
	if r.Route.encodes() {
		e.Compress += "; the app server is asked for identity, which is what is cached"
	}
}

// setIdentity has the app server asked for an answer that is not encoded.
func (rt *Route) setIdentity(h http.Header) {
	if rt.encodes() {
		h["Accept-Encoding"] = identityAlone[:1:1]
	}
}
