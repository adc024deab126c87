package admin

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
)

// profiles serves what `go tool pprof` asks for.
func profiles(e *echo.Echo) {
	g := e.Group("/debug/pprof", boundSeconds)
	g.GET("/cmdline", echo.WrapHandler(http.HandlerFunc(pprof.Cmdline)))
	g.GET("/profile", echo.WrapHandler(http.HandlerFunc(pprof.Profile)))
	g.GET("/symbol", echo.WrapHandler(http.HandlerFunc(pprof.Symbol)))
	g.POST("/symbol", echo.WrapHandler(http.HandlerFunc(pprof.Symbol)))
	g.GET("/trace", echo.WrapHandler(http.HandlerFunc(pprof.Trace)))
	g.GET("/*", echo.WrapHandler(http.HandlerFunc(pprof.Index)))
}

// maxProfile is the longest time that a profile is taken for: each costs a connection and some CPU meanwhile.
const maxProfile = 5 * time.Minute

// boundSeconds refuses profiles that would be taken for longer. net/http/pprof itself would begin one of a year.
func boundSeconds(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if text := c.QueryParam("seconds"); text != "" {
			seconds, err := strconv.ParseFloat(text, 64)
			if err != nil || !(seconds > 0 && seconds <= maxProfile.Seconds()) {
				return echo.NewHTTPError(http.StatusBadRequest, fmt.Sprintf("A profile takes from 1 to %.0f seconds.", maxProfile.Seconds()))
			}
		}
		return next(c)
	}
}
