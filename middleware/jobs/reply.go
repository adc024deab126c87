package jobs

import (
	"fmt"
	"strconv"

	"github.com/headgate/headgate/middleware/store"
)

// reply reads the values of a script's reply one after the other. The first that is not what is expected is its error.
type reply struct {
	values []any
	err    error
}

func replyOf(c *store.Call) *reply {
	values, err := c.Slice()
	return &reply{values: values, err: err}
}

func (r *reply) more() bool { return r.err == nil && len(r.values) > 0 }

func (r *reply) next() any {
	if !r.more() {
		r.fail(nil)
		return nil
	}
	v := r.values[0]
	r.values = r.values[1:]
	return v
}

func (r *reply) fail(v any) {
	if r.err == nil {
		r.err = fmt.Errorf("a script's reply has %T where that can't be", v)
	}
}

// note takes over the error of a part.
func (r *reply) note(part *reply) {
	if r.err == nil {
		r.err = part.err
	}
}

func (r *reply) error() error {
	if r.err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, r.err)
	}
	return nil
}

func (r *reply) text() string {
	v := r.next()
	s, ok := v.(string)
	if !ok {
		r.fail(v)
	}
	return s
}

func (r *reply) byte() byte {
	if s := r.text(); s != "" {
		return s[0]
	}
	r.fail("")
	return 0
}

func (r *reply) int() int64 {
	v := r.next()
	n, ok := v.(int64)
	if !ok {
		r.fail(v)
	}
	return n
}

func (r *reply) list() *reply {
	v := r.next()
	values, ok := v.([]any)
	if !ok {
		r.fail(v)
	}
	return &reply{values: values}
}

func (r *reply) standing() standing {
	return standing{place: r.int(), average: r.int(), notBefore: r.int(), now: r.int()}
}

// view reads a job as show.lua gives it.
func (r *reply) view() *view {
	v := &view{id: r.text(), leased: r.int() == 1}
	v.record = r.record()
	v.head = []byte(r.text())
	v.standing = r.standing()
	return v
}

// record reads a hash of Redis.
func (r *reply) record() record {
	var c record
	for list := r.list(); list.more(); r.note(list) {
		c.set(list.text(), list.text())
	}
	return c
}

// set sets a field of the hash.
func (c *record) set(name, value string) {
	n, _ := strconv.ParseInt(value, 10, 64)
	switch name {
	case "s":
		c.state = (value + " ")[0]
	case "c":
		c.created = n
	case "b":
		c.born = n
	case "d":
		c.due = n
	case "i":
		c.started = n
	case "l":
		c.finished = n
	case "e":
		c.expires = n
	case "n":
		c.attempts = int(n)
	case "m":
		c.lost = int(n)
	case "t":
		c.token = value
	case "z":
		c.size = n
	case "h":
		c.headSize = n
	case "y":
		c.bodySize = n
	case "o":
		c.owner = value
	case "g":
		c.host = value
	case "k":
		c.key = value
	case "x":
		c.cancel = cancelling(n)
	case "a":
		c.status = int(n)
	case "r":
		c.reason = value
	case "w":
		c.asked = true
	}
}
