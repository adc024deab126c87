package admin

import (
	"context"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"
)

// maxPurged is the most bytes of a URL, a prefix, a tag or a group: every instance keeps them for as long as what they name could be stored.
const maxPurged = 8 << 10

// purge answers POST /purge, once the purge is in force everywhere.
func purge(do func(context.Context, Purge) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		var p Purge
		if err := readBody(c, &p, "a purge", `{"tag": "products"}`); err != nil {
			return err
		}
		named := 0
		for _, is := range []bool{p.URL != "", p.Prefix != "", p.Tag != "", p.Group != "" || p.Origin != "", p.All} {
			if is {
				named++
			}
		}
		if named != 1 {
			return echo.NewHTTPError(http.StatusBadRequest, "Name exactly one of url, prefix, tag, all, and group with its origin.")
		}
		if len(p.URL)+len(p.Prefix)+len(p.Tag)+len(p.Group)+len(p.Origin) > maxPurged {
			return echo.NewHTTPError(http.StatusBadRequest, fmt.Sprintf("No URL, prefix, tag or group has more than %d bytes.", maxPurged))
		}
		if err := do(c.Request().Context(), p); err != nil {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	}
}
