//go:build linux

package main

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/labstack/echo/v4"
)

// serveBare is the least that a Go gateway can be: Echo and one ReverseProxy.
// Its arguments are the address for HTTP, that for HTTPS, the origin's, and
// the files of a certificate and its key.
func serveBare(args []string) error {
	if len(args) != 5 {
		return fmt.Errorf("serve-bare is run by compare itself")
	}
	addr, tlsAddr, origin, cert, key := args[0], args[1], args[2], args[3], args[4]
	target, err := url.Parse("http://" + origin)
	if err != nil {
		return err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 256
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target); r.SetXForwarded() },
		Transport: transport,
	}
	serve := func(start func(*echo.Echo) error) <-chan error {
		e := echo.New()
		e.HideBanner, e.HidePort = true, true
		e.Any("/*", echo.WrapHandler(proxy))
		failed := make(chan error, 1)
		go func() { failed <- start(e) }()
		return failed
	}
	select {
	case err = <-serve(func(e *echo.Echo) error { return e.StartTLS(tlsAddr, cert, key) }):
	case err = <-serve(func(e *echo.Echo) error { return e.Start(addr) }):
	}
	return err
}
