package spool

// blockSize is the unit in which a file is given out. The unit is large because
// the list of the blocks of a body of 1 GiB lies in memory.
const blockSize = 256 << 10

// overflow is the part of a body that lies in a file: a queue of blocks. A block
// that has been read is written again, so the file grows no larger than what is
// unread at a time. The body's mutex guards all but the reading and writing of
// the file itself, which one reader and one writer do at a time.
type overflow struct {
	disk *Disk
	file file
	off  bool // there is no disk, or it has failed

	queue []uint32 // of blocks
	spare []uint32 // blocks that have been read
	count uint32   // of blocks in the file
	r     int      // what has been read of the first block
	w     int      // what has been written of the last block
}

// empty reports whether all that was written has been read.
func (o *overflow) empty() bool {
	return len(o.queue) == 0 || len(o.queue) == 1 && o.r == o.w
}

// place is a range of the file.
type place struct {
	offset int64
	length int
}

// grow finds places for n bytes behind those that are there, or returns false if the
// Disk has no room for them. They belong to the queue once they are appended.
func (o *overflow) grow(n int) (places []place, blocks []uint32, ok bool) {
	if o.off {
		return nil, nil, false
	}
	if len(o.queue) > 0 && o.w < blockSize {
		part := min(n, blockSize-o.w)
		places = append(places, place{at(o.queue[len(o.queue)-1], o.w), part})
		n -= part
	}
	for n > 0 {
		block, ok := o.block()
		if !ok {
			o.spare = append(o.spare, blocks...)
			return nil, nil, false
		}
		part := min(n, blockSize)
		blocks = append(blocks, block)
		places = append(places, place{at(block, 0), part})
		n -= part
	}
	return places, blocks, true
}

// block returns a block that holds nothing.
func (o *overflow) block() (uint32, bool) {
	if n := len(o.spare); n > 0 {
		block := o.spare[n-1]
		o.spare = o.spare[:n-1]
		return block, true
	}
	if !o.disk.take(blockSize) {
		return 0, false
	}
	o.count++
	return o.count - 1, true
}

func at(block uint32, offset int) int64 { return int64(block)*blockSize + int64(offset) }

// write writes p to the places of the file, without the body's mutex. It makes
// the file where there is none yet.
func (d *Disk) write(f file, p []byte, places []place) (file, error) {
	if f == nil {
		var err error
		if f, err = d.create(d.dir); err != nil {
			return nil, err
		}
	}
	for _, pl := range places {
		if _, err := f.WriteAt(p[:pl.length], pl.offset); err != nil {
			return f, err
		}
		p = p[pl.length:]
	}
	return f, nil
}

// appended makes what was written part of the queue.
func (o *overflow) appended(places []place, blocks []uint32) {
	o.queue = append(o.queue, blocks...)
	last := places[len(places)-1]
	o.w = int(last.offset%blockSize) + last.length
}

// next is where the next bytes lie, at most so many.
func (o *overflow) next(most int) place {
	end := blockSize
	if len(o.queue) == 1 {
		end = o.w
	}
	return place{at(o.queue[0], o.r), min(most, end-o.r)}
}

// consumed removes so many bytes from the queue's front. The last block stays,
// since more may be written to it.
func (o *overflow) consumed(n int) {
	o.r += n
	if o.r == blockSize && len(o.queue) > 1 {
		o.spare = append(o.spare, o.queue[0])
		o.queue = o.queue[1:]
		o.r = 0
	}
}

// release closes the file and gives its bytes back to the Disk.
func (o *overflow) release() {
	if o.file != nil {
		o.file.Close()
		o.file = nil
	}
	if o.count > 0 {
		o.disk.give(int64(o.count) * blockSize)
	}
	o.queue, o.spare, o.count, o.r, o.w = nil, nil, 0, 0, 0
}
