package admin

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

func listSessions(s Sessions) echo.HandlerFunc {
	return func(c echo.Context) error {
		user, err := userParam(c)
		if err != nil {
			return err
		}
		all, err := s.List(c.Request().Context(), user)
		if err != nil {
			return err
		}
		return show(c, all)
	}
}

func revokeUser(s Sessions) echo.HandlerFunc {
	return func(c echo.Context) error {
		user, err := userParam(c)
		if err != nil {
			return err
		}
		n, err := s.RevokeUser(c.Request().Context(), user)
		if err != nil {
			return err
		}
		return show(c, map[string]int{"revoked": n})
	}
}

func revokeSession(s Sessions) echo.HandlerFunc {
	return func(c echo.Context) error {
		found, err := s.Revoke(c.Request().Context(), c.Param("ref"))
		if err != nil {
			return err
		}
		if !found {
			return echo.NewHTTPError(http.StatusNotFound, "There is no session with this reference; it may have ended.")
		}
		return c.NoContent(http.StatusNoContent)
	}
}

func userParam(c echo.Context) (string, error) {
	if user := c.QueryParam("user"); user != "" {
		return user, nil
	}
	return "", echo.NewHTTPError(http.StatusBadRequest, "Name the user: /sessions?user=USER.")
}
