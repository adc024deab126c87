package listener

import (
	"sync"
	"sync/atomic"
	"time"
)

// capacity bounds the connections of all listeners of a server together. When it is used up, those on which nothing is
// under way make room: a client that comes back on one connects again, while a new client that is refused gets nothing.
type capacity struct {
	max   int // 0: any number
	conns *conns

	open    atomic.Int64
	refused atomic.Uint64
	givenUp atomic.Uint64

	mu        sync.Mutex
	fruitless time.Time // when a search for connections to give up has found none
}

// admit counts a connection, unless there is no room for it. release must then be called once, when the connection is closed.
func (c *capacity) admit() bool {
	for c.open.Add(1); c.max > 0 && c.open.Load() > int64(c.max); {
		if c.makeRoom() == 0 {
			c.open.Add(-1)
			c.refused.Add(1)
			return false
		}
	}
	return true
}

func (c *capacity) release() { c.open.Add(-1) }

// searchPause is how long none are searched for after a search has found none: it takes as long as there are connections.
const searchPause = 100 * time.Millisecond

// makeRoom gives up some of the connections on which nothing is under way, and returns how many.
func (c *capacity) makeRoom() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.fruitless) < searchPause {
		return 0
	}
	open := int(c.open.Load())
	n := c.conns.giveUp(min(max(open/64, 1), 1024))
	if n == 0 {
		c.fruitless = time.Now()
	}
	c.givenUp.Add(uint64(n))
	return n
}

// Connections says how the connections stand with what bounds them.
type Connections struct {
	Open int // connections of clients
	Max  int // Options.MaxConnections
	// Refused are those that were closed at once, since Max were open and something was under way on all.
	Refused uint64
	// GivenUp are those on which nothing was under way, and which made room for others, or whose descriptors were needed.
	GivenUp uint64
}

// Connections returns how many connections there are. It is safe for concurrent use.
func (s *Server) Connections() Connections {
	c := &s.capacity
	return Connections{Open: int(c.open.Load()), Max: c.max, Refused: c.refused.Load(), GivenUp: c.givenUp.Load()}
}
