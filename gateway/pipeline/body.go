package pipeline

import "net/http"

// boundBody refuses a request body that is too large: at once where its length is
// declared, otherwise as soon as it turns out.
func boundBody(r *Request) *Answer {
	most := r.Route.maxBody
	switch {
	case most == 0:
		return nil
	case r.ContentLength > most:
		return bodyTooLarge(most)
	case r.ContentLength < 0 && r.http != nil:
		r.http.Body = http.MaxBytesReader(r.echo.Response().Writer, r.http.Body, most)
	}
	return nil
}
