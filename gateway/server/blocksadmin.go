package server

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/headgate/headgate/middleware/blocklist"
	"github.com/headgate/headgate/policies"
)

// blocksAdmin lets operators block networks.
type blocksAdmin struct{ server *Server }

const keptInMemory = "there is no Redis: blocks hold on this gateway alone, until it restarts"

// List implements admin.Blocks.
func (a blocksAdmin) List() admin.BlockList {
	blocks := a.server.parts.blocks
	list := admin.BlockList{Blocks: []admin.Block{}}
	for _, b := range blocks.All() {
		list.Blocks = append(list.Blocks, admin.Block(b))
	}
	switch redis := a.server.parts.redis; {
	case !blocks.InRedis():
		list.Note = keptInMemory
	case !redis.Limits.Available():
		list.Note = "Redis is away: these are the blocks that this gateway knows, and they stay in force"
	}
	return list
}

// Add implements admin.Blocks.
func (a blocksAdmin) Add(ctx context.Context, b admin.NewBlock, caller netip.Addr, by string) (change admin.BlockChange, err error) {
	network, note, err := a.network(b.Network)
	if err != nil {
		return change, err
	}
	var d time.Duration
	if b.For != "" {
		if d, err = policies.ParseDuration(b.For); err != nil || d < time.Second {
			return change, fmt.Errorf("%w: %q is not how long a block may last; write it like 90s, 1h or 7d, from 1s on, or leave it out", admin.ErrBadKey, b.For)
		}
	}
	if len(b.Reason) > 256 || strings.ContainsFunc(b.Reason, unicode.IsControl) {
		return change, fmt.Errorf("%w: a reason is one line of 256 bytes at most", admin.ErrBadKey)
	}
	if !b.Force {
		if why := a.risk(network, caller); why != "" {
			return change, fmt.Errorf("%w: %s; --force (in the API \"force\": true) blocks it all the same", admin.ErrConflict, why)
		}
	}
	blocks := a.server.parts.blocks
	if !blocks.InRedis() {
		note = strings.TrimPrefix(note+"; "+keptInMemory, "; ")
	}
	o, err := blocks.Add(ctx, blocklist.Block{Network: network, Reason: b.Reason, By: clip(by)}, d)
	switch {
	case errors.Is(err, blocklist.ErrFull):
		return change, fmt.Errorf("%w: %w; unblock some, or put networks into server.deny", admin.ErrConflict, err)
	case err != nil:
		return change, away(err)
	}
	a.server.log.Info("a network is blocked", "network", network, "for", orForever(d), "reason", b.Reason, "by", by, "unconfirmed", len(o.Unconfirmed))
	return changed(o, note), nil
}

// Remove implements admin.Blocks.
func (a blocksAdmin) Remove(ctx context.Context, text, by string) (change admin.BlockChange, err error) {
	network, _, err := a.network(text)
	if err != nil {
		return change, err
	}
	blocks := a.server.parts.blocks
	candidates := []netip.Prefix{network}
	if addr, err := netip.ParseAddr(text); err == nil { // which may have been blocked as /128
		addr = addr.Unmap().WithZone("")
		candidates = []netip.Prefix{netip.PrefixFrom(addr, addr.BitLen()), network}
	}
	for _, network = range candidates {
		o, found, err := blocks.Remove(ctx, network)
		if err != nil {
			return change, away(err)
		}
		if found {
			a.server.log.Info("a network is not blocked any more", "network", network, "by", by, "unconfirmed", len(o.Unconfirmed))
			change = changed(o, "")
			change.StillBlockedBy = a.holding(network)
			return change, nil
		}
	}
	if holding := a.holding(network); len(holding) > 0 {
		return change, fmt.Errorf("%w: %s has no block of its own; it is in %s", admin.ErrNotFound, network, holding[0])
	}
	return change, fmt.Errorf("%w: %s is not blocked", admin.ErrNotFound, network)
}

// network reads an address or a network. An IPv6 address is the network that the limits count as one client.
func (a blocksAdmin) network(text string) (network netip.Prefix, note string, err error) {
	bad := fmt.Errorf("%w: %q is not an address or a network; write it like 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32", admin.ErrBadKey, text)
	if addr, err := netip.ParseAddr(text); err == nil {
		gen := a.server.current.Load()
		addr = gen.Resolver().Bucket(addr.Unmap().WithZone(""))
		bits := addr.BitLen()
		if addr.Is6() && gen.policy.Server.IPv6Prefix < bits {
			bits = gen.policy.Server.IPv6Prefix
			note = fmt.Sprintf("an IPv6 client is its /%d; write /128 for one address", bits)
		}
		return netip.PrefixFrom(addr, bits), note, nil
	}
	network, err = netip.ParsePrefix(text)
	if err != nil {
		return network, "", bad
	}
	if network.Addr().Is4In6() {
		if network.Bits() < 96 {
			return network, "", bad
		}
		network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96)
	}
	return network.Masked(), "", nil
}

// risk says why a network is probably blocked by mistake; "" where it is not.
func (a blocksAdmin) risk(network netip.Prefix, caller netip.Addr) string {
	widest := 8
	if network.Addr().Is6() {
		widest = 32
	}
	if network.Bits() < widest {
		return fmt.Sprintf("%s is wider than a /%d", network, widest)
	}
	for _, proxies := range a.server.current.Load().policy.Server.TrustedProxies {
		if network.Overlaps(proxies) {
			return fmt.Sprintf("%s holds proxies of server.trusted_proxies (%s)", network, proxies)
		}
	}
	if network.Contains(caller) {
		return fmt.Sprintf("%s holds your own address, %s", network, caller)
	}
	return ""
}

// holding returns the networks that refuse all of a network: blocks, and those of server.deny.
func (a blocksAdmin) holding(network netip.Prefix) (holding []netip.Prefix) {
	for _, b := range a.server.parts.blocks.Holding(network) {
		holding = append(holding, b.Network)
	}
	for _, denied := range a.server.current.Load().policy.Server.Deny {
		if denied.Bits() <= network.Bits() && denied.Contains(network.Addr()) {
			holding = append(holding, denied)
		}
	}
	return holding
}

// changed is a change as the admin API tells it.
func changed(o blocklist.Outcome, note string) admin.BlockChange {
	change := admin.BlockChange{Block: admin.Block(o.Block), Note: note}
	for _, i := range o.Unconfirmed {
		change.Unconfirmed = append(change.Unconfirmed, admin.Unconfirmed{Instance: i.Name, Silent: i.Silent.Seconds()})
	}
	return change
}

func orForever(d time.Duration) string {
	if d == 0 {
		return "ever"
	}
	return policies.FormatDuration(d)
}

// clip bounds what a caller says of itself.
func clip(by string) string { return by[:min(len(by), 200)] }
