package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/session"
	"github.com/headgate/headgate/middleware/store"
)

// purge does what the admin listener is asked at /purge.
func (s *Server) purge(ctx context.Context, p admin.Purge) error {
	c := s.parts.cache.Load()
	if c == nil {
		return fmt.Errorf("%w: the running policy caches nothing", admin.ErrNotFound)
	}
	purge := cache.Purge{URL: p.URL, Prefix: p.Prefix, Tag: p.Tag, Group: p.Group, Origin: p.Origin, All: p.All, Soft: p.Soft}
	if err := purge.Check(); err != nil {
		return fmt.Errorf("%w: %w", admin.ErrBadKey, err)
	}
	if err := c.Purge(ctx, purge); err != nil {
		return fmt.Errorf("%w: the purge is not yet known to be in force everywhere: %w", admin.ErrAway, err)
	}
	return nil
}

// sessionsAdmin lets operators see and end sessions.
type sessionsAdmin struct{ server *Server }

func (a sessionsAdmin) manager() *session.Manager { return a.server.current.Load().sessions }

// List implements admin.Sessions.
func (a sessionsAdmin) List(ctx context.Context, user string) (any, error) {
	all, err := a.manager().List(ctx, user)
	if all == nil {
		all = []session.Info{}
	}
	return all, away(err)
}

// RevokeUser implements admin.Sessions. The user's jobs that wait are cancelled.
func (a sessionsAdmin) RevokeUser(ctx context.Context, user string) (int, error) {
	n, err := a.manager().RevokeUser(ctx, user)
	if err == nil {
		err = a.server.cancelJobsOf(ctx, user)
	}
	return n, away(err)
}

// Revoke implements admin.Sessions.
func (a sessionsAdmin) Revoke(ctx context.Context, ref string) (bool, error) {
	found, err := a.manager().Revoke(ctx, ref)
	return found, away(err)
}

// away marks the errors that mean that Redis does not answer.
func away(err error) error {
	if errors.Is(err, session.ErrUnavailable) || errors.Is(err, store.ErrUnavailable) {
		return fmt.Errorf("%w: %w", admin.ErrAway, err)
	}
	return err
}
