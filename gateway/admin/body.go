package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/labstack/echo/v4"
)

// readBody reads a request's body, which is one JSON object, into v. what and example say in an error what the body should be.
func readBody(c echo.Context, v any, what, example string) error {
	in := json.NewDecoder(c.Request().Body)
	in.DisallowUnknownFields()
	err := in.Decode(v)
	if err == nil {
		if _, more := in.Token(); more != io.EOF {
			err = errors.New("there is more behind the JSON object")
		}
	}
	var tooLarge *http.MaxBytesError
	if err == nil || errors.As(err, &tooLarge) {
		return err
	}
	return echo.NewHTTPError(http.StatusBadRequest, fmt.Sprintf("The body is not %s (%v); send JSON such as %s.", what, err, example))
}
