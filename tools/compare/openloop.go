//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	openConns = 64
	// drain is how long the loader waits for answers after the last request was due.
	drain = 5 * time.Second
)

// measured is what the open loop's loader prints, as JSON.
type measured struct {
	Answers, Failed int
	Elapsed         time.Duration
	P50, P99, P999  time.Duration // from the time when a request was due to its answer's last byte
	Late99          time.Duration // p99 of how late the loader sent, from when it could have
}

// load is the open loop's loader, a process of its own. Its arguments are the
// server's address, the path, requests per second (0: the next as soon as a
// connection is free) and seconds.
func load(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("load is run by compare itself")
	}
	addr, err := netip.ParseAddrPort(args[0])
	if err != nil {
		return err
	}
	perSecond, err1 := strconv.Atoi(args[2])
	seconds, err2 := strconv.Atoi(args[3])
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	debug.SetGCPercent(-1) // a collection would make the loader late; it allocates for its figures alone
	l := &pacer{
		addr:    unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()},
		request: fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", args[1], args[0]),
		length:  time.Duration(seconds) * time.Second,
	}
	if perSecond > 0 {
		l.every = time.Second / time.Duration(perSecond)
	}
	if err := l.run(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(l.result())
}

// pacer sends requests at their time. It is one thread that waits in ppoll(2),
// which wakes to the microsecond, where the timers of Go's runtime wake to the
// millisecond.
type pacer struct {
	addr    unix.SockaddrInet4
	request []byte
	length  time.Duration
	every   time.Duration // between two requests; 0 for as fast as answers arrive

	begin     time.Time
	conns     [openConns]pacedConn
	polls     [openConns]unix.PollFd // of the same index
	free      []int                  // indexes of idle connections, the last used at the end
	freeSince time.Duration          // when the first connection came free after all had been busy
	sent      int
	elapsed   time.Duration

	latencies, late []time.Duration
	failed          int
	buf             [64 << 10]byte
}

// pacedConn is one keep-alive connection; times are since the pacer's begin.
type pacedConn struct {
	busy bool
	due  time.Duration // of the request in flight
	head []byte        // of its answer, until it is complete
	left int           // bytes of the answer's body to come, once the head is complete
}

func (l *pacer) run() error {
	// The kernel may wake a thread later than asked, by this many nanoseconds.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	for i := range l.conns {
		if err := l.connect(i); err != nil {
			return err
		}
		l.free = append(l.free, i)
	}
	l.begin = time.Now()
	for {
		if err := l.sendDue(); err != nil {
			return err
		}
		now := l.now()
		if l.complete(now) {
			l.elapsed = now
			return nil
		}
		wait := unix.NsecToTimespec(int64(max(0, l.nextWake(now)-now)))
		if _, err := unix.Ppoll(l.polls[:], &wait, nil); err != nil && err != unix.EINTR {
			return err
		}
		for i := range l.polls {
			if l.polls[i].Revents != 0 {
				if err := l.receive(i); err != nil {
					return err
				}
			}
		}
	}
}

func (l *pacer) now() time.Duration { return time.Since(l.begin) }

// nextDue is when the next request is to be sent; after the last it is never.
func (l *pacer) nextDue(now time.Duration) (due time.Duration, any bool) {
	if l.every == 0 {
		return now, now < l.length
	}
	due = time.Duration(l.sent) * l.every
	return due, due < l.length
}

// complete says whether nothing is left to send or to wait for.
func (l *pacer) complete(now time.Duration) bool {
	_, more := l.nextDue(now)
	return !more && len(l.free) == openConns || now > l.length+drain
}

// nextWake is when there is something to do even if no answer arrives.
func (l *pacer) nextWake(now time.Duration) time.Duration {
	if due, more := l.nextDue(now); more && len(l.free) > 0 {
		return due
	}
	return l.length + drain + time.Millisecond
}

// sendDue sends all requests that are due, as far as connections are free.
func (l *pacer) sendDue() error {
	for len(l.free) > 0 {
		now := l.now()
		due, more := l.nextDue(now)
		if !more || due > now {
			return nil
		}
		i := l.free[len(l.free)-1]
		l.free = l.free[:len(l.free)-1]
		c := &l.conns[i]
		c.busy, c.due, c.head, c.left = true, due, c.head[:0], 0
		l.late = append(l.late, now-max(due, l.freeSince))
		l.sent++
		if n, err := unix.Write(int(l.polls[i].Fd), l.request); err != nil || n < len(l.request) {
			if err := l.lose(i); err != nil {
				return err
			}
		}
	}
	return nil
}

// receive reads what has arrived on a connection.
func (l *pacer) receive(i int) error {
	c := &l.conns[i]
	n, err := unix.Read(int(l.polls[i].Fd), l.buf[:])
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return nil
	case err != nil || n <= 0 || !c.busy:
		return l.lose(i)
	}
	data := l.buf[:n]
	if c.left == 0 {
		c.head = append(c.head, data...)
		end := bytes.Index(c.head, []byte("\r\n\r\n"))
		if end < 0 {
			return nil
		}
		length, ok := contentLength(c.head[:end])
		if !ok {
			return fmt.Errorf("an answer that the loader can't measure: %q", c.head[:end])
		}
		data = c.head[end+4:]
		c.left = length
	}
	c.left -= len(data)
	if c.left < 0 {
		return fmt.Errorf("an answer is %d bytes longer than its Content-Length", -c.left)
	}
	if c.left == 0 {
		now := l.now()
		l.latencies = append(l.latencies, now-c.due)
		l.release(i, now)
	}
	return nil
}

// contentLength reads it from the head of a 200 answer.
func contentLength(head []byte) (n int, ok bool) {
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) {
		return 0, false
	}
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Content-Length")) {
			n, err := strconv.Atoi(string(bytes.TrimSpace(value)))
			return n, err == nil && n > 0
		}
	}
	return 0, false
}

func (l *pacer) release(i int, now time.Duration) {
	if len(l.free) == 0 {
		l.freeSince = now
	}
	l.conns[i].busy = false
	l.free = append(l.free, i)
}

// lose replaces a connection that the server has closed. A request on it has failed.
func (l *pacer) lose(i int) error {
	if l.conns[i].busy {
		l.failed++
		l.release(i, l.now())
	}
	_ = unix.Close(int(l.polls[i].Fd))
	return l.connect(i)
}

func (l *pacer) connect(i int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	l.polls[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	return errors.Join(
		unix.Connect(fd, &l.addr),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.SetNonblock(fd, true))
}

// result counts a request that was due but not answered by the end as late as
// it was by then, since to leave it out would flatter a server that stalls.
func (l *pacer) result() measured {
	m := measured{Answers: len(l.latencies), Failed: l.failed, Elapsed: l.elapsed}
	for i := range l.conns {
		if l.conns[i].busy {
			l.latencies = append(l.latencies, l.elapsed-l.conns[i].due)
		}
	}
	for due, more := l.nextDue(l.elapsed); more; due, more = l.nextDue(l.elapsed) {
		l.latencies = append(l.latencies, l.elapsed-due)
		l.sent++
	}
	slices.Sort(l.latencies)
	slices.Sort(l.late)
	m.P50, m.P99, m.P999 = quantile(l.latencies, 0.5), quantile(l.latencies, 0.99), quantile(l.latencies, 0.999)
	m.Late99 = quantile(l.late, 0.99)
	return m
}

// quantile is the smallest value that a share q of the sorted values do not exceed.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
