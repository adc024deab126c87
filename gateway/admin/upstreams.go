package admin

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// Upstreams is what the admin API asks of the app servers' pools. It is about this instance of the gateway alone.
type Upstreams interface {
	// Status returns how each server is, by upstream, to be encoded as JSON.
	Status() any
	// Drain has a server get no new requests, at all of its addresses, until Restore, or until the policy does not have it any more. The last
	// one that is healthy is drained only by force: without, it is ErrConflict. by says who asked. It returns the server's status at each
	// address, to be encoded as JSON.
	Drain(upstream, url string, force bool, by string) (any, error)
	// Restore has a drained server get requests again. One whose weight is 0 in the policy is ErrConflict.
	Restore(upstream, url, by string) (any, error)
}

// ServerChange is the body of POST /upstreams/{name}/drain and /restore.
type ServerChange struct {
	URL string `json:"url"`
	// Force drains the last healthy server, too. It is for drain alone.
	Force bool `json:"force,omitempty"`
}

func drainServer(u Upstreams) echo.HandlerFunc {
	return func(c echo.Context) error {
		change, err := serverChange(c)
		if err != nil {
			return err
		}
		servers, err := u.Drain(c.Param("name"), change.URL, change.Force, author(c))
		if err != nil {
			return err
		}
		return show(c, servers)
	}
}

func restoreServer(u Upstreams) echo.HandlerFunc {
	return func(c echo.Context) error {
		change, err := serverChange(c)
		if err != nil {
			return err
		}
		if change.Force {
			return echo.NewHTTPError(http.StatusBadRequest, "force is for drain alone.")
		}
		servers, err := u.Restore(c.Param("name"), change.URL, author(c))
		if err != nil {
			return err
		}
		return show(c, servers)
	}
}

func serverChange(c echo.Context) (change ServerChange, err error) {
	if err := readBody(c, &change, "the name of a server", `{"url": "http://127.0.0.1:9001"}`); err != nil {
		return change, err
	}
	if change.URL == "" {
		return change, echo.NewHTTPError(http.StatusBadRequest, `Name the server, with a URL of GET /upstreams: {"url": "http://127.0.0.1:9001"}.`)
	}
	return change, nil
}
