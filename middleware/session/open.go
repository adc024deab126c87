package session

import (
	"context"
	"fmt"

	"github.com/headgate/headgate/middleware/store"
)

// A request carries several cookies of our name where an operator has changed the cookie's domain
// or path, or where a sibling host has planted one. All of them are looked up, in one round trip.
// Of those that open live sessions, the one counts that [opened.supersedes] the others.

// opened is a cookie with the live session that it opens.
type opened struct {
	presented
	record *record
}

// supersedes reports whether o counts where other is presented as well: it carries a younger ID
// of the same session, or its session has replaced that of other at a login, or began later.
func (o *opened) supersedes(other *opened) bool {
	switch handle, otherHandle := o.token.handle, other.token.handle; {
	case handle == otherHandle:
		return o.record.find(o.sum) > other.record.find(other.sum)
	case o.record.Replaces == otherHandle || other.record.Replaced == handle:
		return true
	case other.record.Replaces == handle || o.record.Replaced == otherHandle:
		return false
	}
	return o.record.Created > other.record.Created
}

// read reads the records of the request's cookies, and opens the one that counts.
func (rs *RequestSession) read(ctx context.Context) error {
	if !rs.HasToken() {
		return nil
	}
	rs.AddTo(nil)
	texts, err := rs.fetch.done(ctx)
	if err == nil {
		err = rs.open(texts)
	}
	rs.err = err
	return err
}

// open takes what was found for the cookies. An error says that one of the records can't be
// read: which session counts is then not known.
func (rs *RequestSession) open(texts [][]byte) error {
	var best opened
	now := rs.m.now()
	for i, text := range texts {
		if text == nil {
			continue
		}
		r, err := decodeRecord(text)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		o := opened{rs.presented[i], r}
		switch {
		case !r.valid(r.find(o.sum), now):
		case r.Host == "":
			rs.unbound = append(rs.unbound, o)
		case !r.live(now, &rs.m.set) || !rs.m.isValidAt(r.Host, rs.request.Host):
		case best.record == nil:
			best = o
		case o.supersedes(&best):
			rs.others, best = append(rs.others, best), o
		default:
			rs.others = append(rs.others, o)
		}
	}
	if best.record != nil {
		rs.token, rs.sum = best.token, best.sum
		rs.take(best.record)
	}
	return nil
}

// endUnbound ends the sessions that do not say where they are valid, and that the client has
// presented. Should it fail, they are valid nowhere all the same.
func (rs *RequestSession) endUnbound(ctx context.Context) {
	if len(rs.unbound) > 0 {
		_ = rs.m.endOwned(store.Writing(context.WithoutCancel(ctx)), ownedOf(rs.unbound))
	}
}
