package pipeline

import (
	"errors"
	"net/http"
	"net/netip"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/internal/networks"
)

// compileNetworks makes the table of the networks that the policy denies.
func compileNetworks(denied []netip.Prefix) networks.Table[struct{}] {
	var entries []networks.Entry[struct{}]
	seen := map[netip.Prefix]bool{}
	for _, network := range denied {
		if network = network.Masked(); !seen[network] {
			seen[network] = true
			entries = append(entries, networks.Entry[struct{}]{Network: network})
		}
	}
	return *networks.New(entries, nil)
}

// denies reports whether there is a network that a request could come from in vain.
func (p *Pipeline) denies() bool { return len(p.policy.Server.Deny) > 0 }

// refuseNetwork is the stage of the networks that the gateway has nothing to do with. It comes
// before all others, and costs what a remembered denial of a limit costs.
func refuseNetwork(r *Request) *Answer {
	if found := findNetwork(&r.pipeline.denied, r); found != nil {
		r.Denied = found.Network
		return deniedNetwork
	}
	return nil
}

// findNetwork looks up the client's address, and the IPv4 address that it has in it (NAT64).
func findNetwork[V any](t *networks.Table[V], r *Request) *networks.Entry[V] {
	found := t.Find(r.Info.Addr)
	if found == nil && r.Info.Addr.Is6() && r.Info.Bucket.Is4() {
		found = t.Find(r.Info.Bucket)
	}
	return found
}

const networkRefused = "Requests from this network are refused."

var deniedNetwork = &Answer{
	Status: http.StatusForbidden, Detail: networkRefused, Cause: errors.New("denied network"), form: asRendered,
	rendered: httpx.Problem{Type: "about:blank", Status: http.StatusForbidden, Detail: networkRefused}.Render(),
}

// explainNetwork says which network refuses the client.
func explainNetwork(r *Request, e *Explanation) {
	if r.Denied.IsValid() {
		e.Denied = r.Denied.String() + ", by server.deny"
	}
}
