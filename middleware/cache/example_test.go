package cache_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/headgate/headgate/middleware/cache"
)

// show sends a request to an Echo app and prints the body and Cache-Status.
func show(e *echo.Echo, method, target string) {
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	fmt.Printf("%s %s: %s (%s)\n", method, target, w.Body, w.Header().Get("Cache-Status"))
}

// exampleClock stands still, so that the examples print the same each time.
func exampleClock() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func Example() {
	responses, err := cache.New(cache.Options{Now: exampleClock})
	if err != nil {
		panic(err)
	}
	defer responses.Close()

	price := 10
	e := echo.New()
	e.GET("/price", func(c echo.Context) error {
		return c.String(http.StatusOK, fmt.Sprint(price))
	}, responses.Middleware(cache.Rule{Name: "prices", TTL: time.Minute, Tags: []string{"prices"}}, cache.MiddlewareOptions{}))

	show(e, "GET", "/price")
	price = 12
	show(e, "GET", "/price")
	if err := responses.Purge(context.Background(), cache.Purge{Tag: "prices"}); err != nil {
		panic(err)
	}
	show(e, "GET", "/price")
	// Output:
	// GET /price: 10 (headgate; fwd=uri-miss; ttl=60; stored)
	// GET /price: 10 (headgate; hit; ttl=60)
	// GET /price: 12 (headgate; fwd=uri-miss; ttl=60; stored)
}

func ExampleMiddleware() {
	e := echo.New()
	e.Use(cache.Middleware(cache.Options{Now: exampleClock}))
	e.GET("/news", func(c echo.Context) error {
		c.Response().Header().Set("Cache-Control", "max-age=30")
		return c.String(http.StatusOK, "news")
	})
	show(e, "GET", "/news")
	show(e, "GET", "/news")
	// Output:
	// GET /news: news (headgate; fwd=uri-miss; ttl=30; stored)
	// GET /news: news (headgate; hit; ttl=30)
}

// An unsafe request that succeeds invalidates what is stored for its URL, and
// purges the tags of its route, before its client is answered.
func ExampleCache_Invalidation() {
	responses, err := cache.New(cache.Options{Now: exampleClock})
	if err != nil {
		panic(err)
	}
	defer responses.Close()

	stock := 3
	e := echo.New()
	e.GET("/stock", func(c echo.Context) error {
		return c.String(http.StatusOK, fmt.Sprint(stock))
	}, responses.Middleware(cache.Rule{Name: "stock", TTL: time.Minute, Tags: []string{"stock"}}, cache.MiddlewareOptions{}))
	e.POST("/orders", func(c echo.Context) error {
		stock--
		return c.NoContent(http.StatusNoContent)
	}, responses.Invalidation(cache.InvalidationOptions{Tags: []string{"stock"}}))

	show(e, "GET", "/stock")
	show(e, "POST", "/orders")
	show(e, "GET", "/stock")
	// Output:
	// GET /stock: 3 (headgate; fwd=uri-miss; ttl=60; stored)
	// POST /orders:  (headgate; fwd=method)
	// GET /stock: 2 (headgate; fwd=uri-miss; ttl=60; stored)
}

// Plan says what the cache would do with a request, without a Cache.
func ExampleRoute_Plan() {
	route, err := cache.Compile(
		cache.Rule{Name: "pages", IgnoreQuery: []string{"utm_*"}, KeyHeaders: []string{"X-Tenant"}},
		cache.MiddlewareOptions{Partition: "shop"},
	)
	if err != nil {
		panic(err)
	}
	r := httptest.NewRequest("GET", "http://Shop.example:80/books?utm_source=mail&page=2", nil)
	r.Header.Set("X-Tenant", "acme")
	plan := route.Plan(r)
	fmt.Println(plan.Action)
	for _, part := range plan.Key.Parts() {
		fmt.Println(part)
	}
	fmt.Println(route.Plan(httptest.NewRequest("DELETE", "http://shop.example/books", nil)).Action)
	// Output:
	// look up
	// pages
	// shop
	// http://shop.example/books?page=2
	// X-Tenant: acme
	// invalidate
}
