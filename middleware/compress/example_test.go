package compress_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/compress"
)

func ExampleMiddleware() {
	e := echo.New()
	e.Use(compress.Middleware(compress.Options{}))
	e.GET("/", func(c echo.Context) error {
		c.Response().Header().Set("ETag", `"1"`)
		return c.String(http.StatusOK, strings.Repeat("A page that gains. ", 1000))
	})

	req := httptest.NewRequest(http.MethodGet, "/", nil)
	req.Header.Set("Accept-Encoding", "gzip, br;q=0.5")
	rec := httptest.NewRecorder()
	e.ServeHTTP(rec, req)
	fmt.Println(rec.Header().Get("Content-Encoding"), rec.Header().Get("Vary"), rec.Header().Get("ETag"), rec.Body.Len() < 500)

	// Output: gzip Accept-Encoding "1-gzip" true
}
