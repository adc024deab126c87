package main

import (
	"fmt"
	"log/slog"
	"net/http"

	"github.com/headgate/headgate/middleware/proxy"
)

// newBalancer makes what stands before the gateways, so that visitors see one site: it passes
// requests to the gateways in turn, with the Host that the browser sent, by which the gateways
// cache, and with the visitor's address. A gateway that is gone is passed over. It ties no visitor to one
// gateway: what one knows, the other knows. In real life it is a load balancer, or DNS.
func newBalancer(gateways [2]string, log *slog.Logger) (_ http.Handler, done func(), err error) {
	var servers []proxy.Server
	for _, addr := range gateways {
		servers = append(servers, proxy.Server{URL: "http://" + addr})
	}
	upstream, err := proxy.New(proxy.Options{
		Name:      "gateways",
		Pseudonym: "shop-balancer",
		Config:    proxy.Config{Servers: servers, Retries: 1},
		Logger:    log,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("the balancer: %w", err)
	}
	return upstream.Handler(proxy.RouteOptions{}), upstream.Close, nil
}
