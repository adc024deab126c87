package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/headgate/headgate/gateway/admin"
	"github.com/headgate/headgate/gateway/pipeline"
)

// policyAdmin lets operators see and change what runs.
type policyAdmin struct{ server *Server }

// Running implements admin.Policy.
func (a policyAdmin) Running() admin.Running { return a.server.revisions.running() }

// Reload implements admin.Policy.
func (a policyAdmin) Reload(_ context.Context, by string, endRollback bool) (bool, error) {
	changed, err := a.server.reload(by, endRollback)
	if errors.As(err, new(errHeld)) {
		return false, fmt.Errorf("%w: %w", admin.ErrHeld, err)
	}
	return changed, refusedPolicy(err)
}

// History implements admin.Policy.
func (a policyAdmin) History() []admin.Revision { return a.server.revisions.history() }

// Rollback implements admin.Policy.
func (a policyAdmin) Rollback(ctx context.Context, number int, by string) error {
	if a.server.revisions.policy(number) == nil {
		return fmt.Errorf("%w: the history has no policy %d", admin.ErrNotFound, number)
	}
	return refusedPolicy(a.server.Rollback(ctx, number, by))
}

// Explain implements admin.Policy.
func (a policyAdmin) Explain(ctx context.Context, q admin.Question) (any, error) {
	e, err := a.server.Explain(ctx, pipeline.Question(q))
	if errors.Is(err, pipeline.ErrQuestion) {
		err = fmt.Errorf("%w: %w", admin.ErrBadKey, err)
	}
	return e, err
}

func refusedPolicy(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", admin.ErrRefused, err)
}
