package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"
)

// purge answers POST /purge, once the purge is in force everywhere.
func purge(do func(context.Context, Purge) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		var p Purge
		in := json.NewDecoder(c.Request().Body)
		in.DisallowUnknownFields()
		if err := in.Decode(&p); err != nil {
			return echo.NewHTTPError(http.StatusBadRequest,
				fmt.Sprintf(`The body is not a purge (%v); send JSON such as {"tag": "products"}.`, err))
		}
		named := 0
		for _, is := range []bool{p.URL != "", p.Prefix != "", p.Tag != "", p.All} {
			if is {
				named++
			}
		}
		if named != 1 {
			return echo.NewHTTPError(http.StatusBadRequest, "Name exactly one of url, prefix, tag and all.")
		}
		if err := do(c.Request().Context(), p); err != nil {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	}
}
