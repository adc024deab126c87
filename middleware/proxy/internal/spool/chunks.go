package spool

// contents is what a body has read and its reader has not: chunks in memory,
// then what lies in the file, then chunks in memory that were read after that.
// The body's mutex guards it, but for the bytes that the source is just being
// read into.
type contents struct {
	memory   *Memory
	limit    int64 // bytes in memory
	held     int64 // of the limit
	front    []*chunk
	file     overflow
	back     []*chunk
	reserved bool // the source is being read into the last chunk
	spilling bool // a chunk is being written to the file
}

// tail is the chunk behind which nothing comes, or nil.
func (c *contents) tail() *chunk {
	if n := len(c.back); n > 0 {
		return c.back[n-1]
	}
	if n := len(c.front); n > 0 && c.file.empty() && !c.spilling {
		return c.front[n-1]
	}
	return nil
}

// extend appends a chunk for up to so many bytes, or returns nil if the bounds
// on memory are reached.
func (c *contents) extend(want int64) *chunk {
	want = min(want, c.limit-c.held)
	if want <= 0 {
		return nil
	}
	fresh := c.memory.allocate(want, c.held == 0)
	if fresh != nil {
		c.held += int64(fresh.most)
		c.put(fresh)
	}
	return fresh
}

func (c *contents) put(fresh *chunk) {
	if len(c.back) == 0 && c.file.empty() && !c.spilling {
		c.front = append(c.front, fresh)
		return
	}
	c.back = append(c.back, fresh)
}

// head is the chunk that is read next; nil if the file comes first, or if there
// is nothing to read.
func (c *contents) head() *chunk {
	if len(c.front) == 0 && c.file.empty() && !c.spilling {
		c.front, c.back = c.back, c.front[:0]
	}
	if len(c.front) == 0 || len(c.front[0].unread()) == 0 {
		return nil
	}
	return c.front[0]
}

// copyTo moves bytes from the head to p.
func (c *contents) copyTo(p []byte, head *chunk) int {
	n := copy(p, head.unread())
	head.r += n
	c.dropHead()
	return n
}

// dropHead frees the first chunk if it has been read and nothing is being read
// into it.
func (c *contents) dropHead() {
	if len(c.front) == 0 || len(c.front[0].unread()) > 0 || c.reserved && c.front[0] == c.tail() {
		return
	}
	c.free(c.front[0])
	c.front[0] = nil
	c.front = c.front[1:]
}

func (c *contents) free(old *chunk) {
	c.held -= int64(old.most)
	c.memory.free(old)
}

// takeForFile removes the chunk that comes right behind the file's contents; all
// chunks are full.
func (c *contents) takeForFile() *chunk {
	if len(c.back) > 0 {
		first := c.back[0]
		c.back = c.back[1:]
		return first
	}
	if n := len(c.front); n > 0 && c.file.empty() {
		last := c.front[n-1]
		c.front = c.front[:n-1]
		return last
	}
	return nil
}

// untake puts back what takeForFile has returned.
func (c *contents) untake(old *chunk) {
	c.back = append([]*chunk{old}, c.back...)
}

// release frees everything, but for a chunk that the source is being read into.
func (c *contents) release() {
	var busy *chunk
	if c.reserved {
		busy = c.tail()
	}
	for _, list := range [][]*chunk{c.front, c.back} {
		for _, old := range list {
			if old != busy {
				c.free(old)
			}
		}
	}
	c.front, c.back = nil, nil
	if busy != nil {
		c.front = []*chunk{busy}
	}
	c.file.release()
}

// empty reports whether there is nothing to read.
func (c *contents) empty() bool {
	return len(c.back) == 0 && !c.spilling && c.file.empty() && (len(c.front) == 0 || len(c.front) == 1 && len(c.front[0].unread()) == 0)
}

func (c *contents) front0() *chunk {
	if len(c.front) == 0 {
		return nil
	}
	return c.front[0]
}
