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

// denies reports whether there can be a network whose requests are refused.
func (p *Pipeline) denies() bool { return len(p.policy.Server.Deny) > 0 || p.parts.Blocks != nil }

// refuseNetwork is the stage of the networks that the policy denies, and that operators have blocked. It comes
// before all others, and costs what a remembered denial of a limit costs.
func refuseNetwork(r *Request) *Answer {
	denied := &r.pipeline.denied
	found := denied.Find(r.Info.Addr)
	if found == nil && r.Info.Addr.Is6() && r.Info.Bucket.Is4() { // an IPv4 address behind a NAT64
		found = denied.Find(r.Info.Bucket)
	}
	if found != nil {
		r.Denied = found.Network
		return deniedNetwork
	}
	if r.Denied, r.blocked = r.backends.Blocked(r); r.blocked {
		return blockedNetwork
	}
	return nil
}

func (b liveBackends) Blocked(r *Request) (netip.Prefix, bool) {
	if b.parts.Blocks == nil {
		return netip.Prefix{}, false
	}
	return b.parts.Blocks.Blocks(r.Info)
}

const networkRefused = "Requests from this network are refused."

var (
	deniedNetwork  = networkAnswer(errors.New("denied network"))
	blockedNetwork = networkAnswer(errors.New("blocked network"))
)

func networkAnswer(cause error) *Answer {
	return &Answer{
		Status: http.StatusForbidden, Detail: networkRefused, Cause: cause, form: asRendered,
		rendered: httpx.Problem{Type: "about:blank", Status: http.StatusForbidden, Detail: networkRefused}.Render(),
	}
}

// explainNetwork says which network refuses the client.
func explainNetwork(r *Request, e *Explanation) {
	switch {
	case !r.Denied.IsValid():
	case r.blocked:
		e.Denied = r.Denied.String() + ", which an operator has blocked"
	default:
		e.Denied = r.Denied.String() + ", by server.deny"
	}
}
