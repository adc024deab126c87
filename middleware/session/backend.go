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

	// gone reports of each handle whether it has no record.
	gone(ctx context.Context, handles []string) ([]bool, error)

	// trip begins a round trip.
	trip() trip

	// ordered reports whether the steps of a trip run in their order. In a Cluster they do
	// not, as they go to several servers.
	ordered() bool

	// eviction describes how this backend could lose live sessions, or "".
	eviction(ctx context.Context) (warning string, err error)
}

// fetch is a read under way. With a Batch its commands travel when the batch is
// sent, which done does where it has not been; without one, when done is called.
type fetch interface {
	// done returns one text per handle, nil where there is no such record.
	done(ctx context.Context) ([][]byte, error)
}

// trip is a round trip: its steps are gathered, and send sends them together. What a step
// returns may be read once send has returned without an error.
type trip interface {
	// get reads a record; nil: there is none.
	get(handle string) *[]byte

	// create stores a record that must not exist yet.
	create(handle string, text []byte, ttl time.Duration)

	// swap replaces the record whose text begins with head. A record that is not there stays
	// away.
	swap(handle, head string, text []byte, ttl time.Duration) *swapped

	// remove deletes records, those that are not there included.
	remove(handles ...string)

	// enter notes a session as one of the user's, for at least ttl, and lists all of them.
	enter(user string, e entry, ttl time.Duration) *[]entry

	// list lists the user's sessions, oldest first.
	list(user string) *[]entry

	// retire notes that a session of the user's is about to end by itself.
	retire(user, handle string)

	// leave removes sessions from the user's index.
	leave(user string, handles ...string)

	// send sends the steps. Its error is ErrUnavailable, or that of create.
	send(ctx context.Context) error
}

// swapped is what became of a swap.
type swapped struct {
	present []byte // another change came first, and this is the record now; nil: it is replaced
	ended   bool   // there is no record
}

// entry is a session in its user's index.
type entry struct {
	handle  string
	created int64  // Unix milliseconds
	seen    int64  // as in the record, or when a remembered session ends, which may be idle until then; 0: the session is about to end by itself
	host    string // as in the record; "": noted by a version whose records have none
}
