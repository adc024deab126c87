package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"
)

// Blocks is what the admin API asks about the networks that operators have blocked.
type Blocks interface {
	// List returns the blocks in force.
	List() BlockList
	// Add blocks a network, on every instance. ErrConflict means that it takes force.
	// caller is the address that asks, the zero Addr where it is not known; by says who it is.
	Add(ctx context.Context, b NewBlock, caller netip.Addr, by string) (BlockChange, error)
	// Remove ends the block of a network, on every instance. ErrNotFound means that it has none
	// of its own.
	Remove(ctx context.Context, network, by string) (BlockChange, error)
}

// NewBlock is the body of POST /blocks.
type NewBlock struct {
	// Network is an address or a network. An IPv6 address is its server.ipv6_prefix.
	Network string `json:"network"`
	// For is how long, such as 90s, 1h or 7d; empty: until it is removed.
	For    string `json:"for,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Force blocks a network that is very wide, or that holds a trusted proxy or the caller.
	Force bool `json:"force,omitempty"`
}

// BlockList is the answer to GET /blocks.
type BlockList struct {
	Blocks []Block `json:"blocks"`
	// Note is what an operator should know of the list: where it is kept, if not in Redis, or
	// that Redis is away.
	Note string `json:"note,omitempty"`
}

// Block is a network that is blocked.
type Block struct {
	Network netip.Prefix `json:"network"`
	Reason  string       `json:"reason,omitempty"`
	By      string       `json:"by,omitempty"`
	Since   time.Time    `json:"since,omitzero"`
	// Until is when the block ends; left out where it does not.
	Until time.Time `json:"until,omitzero"`
}

// BlockChange is the answer to a block that was added or removed.
type BlockChange struct {
	Block
	// StillBlockedBy are the networks that block all of a network whose own block was removed.
	StillBlockedBy []netip.Prefix `json:"still_blocked_by,omitempty"`
	// Unconfirmed are the instances that did not say within a second that they heed the change.
	Unconfirmed []Unconfirmed `json:"unconfirmed,omitempty"`
	Note        string        `json:"note,omitempty"`
}

// Unconfirmed is an instance of the gateway that may not heed a change yet.
type Unconfirmed struct {
	Instance string `json:"instance"` // host and process ID
	// Silent is for how many seconds it has not been heard of.
	Silent float64 `json:"silent_seconds"`
}

func addBlock(b Blocks) echo.HandlerFunc {
	return func(c echo.Context) error {
		var block NewBlock
		in := json.NewDecoder(c.Request().Body)
		in.DisallowUnknownFields()
		if err := in.Decode(&block); err != nil {
			return echo.NewHTTPError(http.StatusBadRequest,
				fmt.Sprintf(`The body is not a block (%v); send JSON such as {"network": "192.0.2.0/24", "for": "1h"}.`, err))
		}
		var caller netip.Addr
		if peer, err := netip.ParseAddrPort(c.Request().RemoteAddr); err == nil {
			caller = peer.Addr().Unmap().WithZone("")
		}
		change, err := b.Add(c.Request().Context(), block, caller, author(c))
		if err != nil {
			return err
		}
		return show(c, change)
	}
}

// removeBlock takes the network from the path, where its slash may be encoded.
func removeBlock(b Blocks) echo.HandlerFunc {
	return func(c echo.Context) error {
		network, err := url.PathUnescape(c.Param("*"))
		if err != nil {
			return echo.NewHTTPError(http.StatusBadRequest, "Name the network: DELETE /blocks/192.0.2.0/24.")
		}
		change, err := b.Remove(c.Request().Context(), network, author(c))
		if err != nil {
			return err
		}
		return show(c, change)
	}
}
