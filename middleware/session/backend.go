package session

import (
	"context"
	"time"

	"github.com/headgate/headgate/middleware/store"
)

// backend keeps records, as opaque text under their handles, and the index of
// each user's handles. Redis and memory differ here and nowhere else.
type backend interface {
	// fetch begins to read records; see fetch.
	fetch(batch *store.Batch, handles ...string) fetch

	// create stores a record that must not exist yet.
	create(ctx context.Context, handle string, text []byte, ttl time.Duration) error

	// swap replaces the record whose text begins with head. Where it begins
	// otherwise, another change came first: the present text is returned instead. A
	// record that is not there stays away: ErrEnded.
	swap(ctx context.Context, handle, head string, text []byte, ttl time.Duration) (present []byte, err error)

	// remove deletes records, those that are not there included.
	remove(ctx context.Context, handles ...string) error

	// index notes a handle as one of the user's, for at least ttl, and returns
	// all of them.
	index(ctx context.Context, user, handle string, at time.Time, ttl time.Duration) (handles []string, err error)

	// indexed returns the user's handles, oldest first.
	indexed(ctx context.Context, user string) (handles []string, err error)

	// unindex removes handles from the user's index.
	unindex(ctx context.Context, user string, handles ...string) error

	// eviction describes how this backend could lose live sessions, or "".
	eviction(ctx context.Context) (warning string, err error)
}

// fetch is a read under way. With a Batch its commands travel when the batch is
// sent, which done does where it has not been; without one, when done is called.
type fetch interface {
	// done returns one text per handle, nil where there is no such record.
	done(ctx context.Context) ([][]byte, error)
}
