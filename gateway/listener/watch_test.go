package listener_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/gateway/listener"
)

func TestContextEndsWhenTheClientLeaves(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{
		"no body":        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"a body":         post("Content-Length: 3") + "abc",
		"a chunked body": chunks("3\r\nabc\r\n0\r\n\r\n"),
		"a large header": get("X: " + strings.Repeat("x", 9000)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			waits, left := make(chan bool, 1), make(chan error, 1)
			addr, _ := start(t, listener.Options{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				derived, cancel := context.WithCancel(r.Context())
				defer cancel()
				_, _ = io.Copy(io.Discard, r.Body)
				waits <- true
				<-derived.Done()
				left <- r.Context().Err()
			})})
			c := dial(t, addr)
			send(t, c, request)
			<-waits
			c.Close()
			select {
			case err := <-left:
				if err != context.Canceled {
					t.Errorf("the context says %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("the context outlives its client")
			}
		})
	}
}

// The time for a request's head, or between requests, is not the time for its answer.
func TestClientIsWatchedForAsLongAsTheAnswerTakes(t *testing.T) {
	t.Parallel()
	const timeout = time.Second // a busy machine sends a head of two pieces within it
	for name, pieces := range map[string][]string{
		"head at once":   {"GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
		"head in pieces": {"GET / HTTP/1.1\r\n", "Host: a\r\n\r\n"},
		"with a body":    {post("Content-Length: 3"), "abc"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			waits, release, left := make(chan bool, 1), make(chan bool, 1), make(chan bool, 1)
			addr, _ := start(t, listener.Options{ReadHeaderTimeout: timeout, IdleTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				done := r.Context().Done()
				waits <- true
				select {
				case <-done:
					left <- true
				case <-release:
				}
			})})
			c := dial(t, addr)
			for i := range 3 { // the last time, the client leaves
				for _, p := range pieces {
					send(t, c, p)
					time.Sleep(time.Millisecond)
				}
				select {
				case <-waits:
				case <-time.After(10 * time.Second):
					t.Fatalf("request %d is not served", i)
				}
				time.Sleep(timeout + timeout/10)
				if i == 2 {
					c.Close()
					break
				}
				release <- true
				if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != 200 {
					t.Fatalf("answer %d: %v, %v", i, res, err)
				}
			}
			select {
			case <-left:
			case <-time.After(10 * time.Second):
				t.Error("the context outlives its client")
			}
		})
	}
}

// A deadline that the handler has set, and that ends the watching, is not the next request's.
func TestHandlersReadDeadlineEndsWithItsRequest(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.Context().Done()
		if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Millisecond)
	})})
	c := dial(t, addr)
	for range 3 {
		if !asks(t, c) {
			t.Fatal("not served")
		}
	}
}

// What the watch reads is the next request, whatever became of the buffer.
func TestWatchedRequestsFollowOneAnother(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, listener.Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.Context().Done()
		time.Sleep(time.Millisecond) // so that the read is under way more often than not
		n, _ := io.Copy(io.Discard, r.Body)
		if _, err := io.WriteString(w, strings.Repeat("y", int(n))+r.Header.Get("X")); err != nil {
			t.Error(err)
		}
	})})
	c := dial(t, addr)
	var want []string
	for i := range 20 {
		value := strings.Repeat("x", i%4*4000)
		body := strings.Repeat("b", i%3*5000)
		want = append(want, strings.Repeat("y", len(body))+value)
		send(t, c, "POST / HTTP/1.1\r\nHost: a\r\nX: "+value+"\r\nContent-Length: "+itoa(len(body))+"\r\n\r\n"+body)
		if i%2 == 0 {
			time.Sleep(2 * time.Millisecond) // alone; else pipelined
		}
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	all, _ := replies(t, c)
	if len(all) != len(want) {
		t.Fatalf("%d answers", len(all))
	}
	for i, r := range all {
		if r.Text != want[i] {
			t.Errorf("answer %d has %d bytes, not %d", i, len(r.Text), len(want[i]))
		}
	}
}

// A context that outlives its request has ended, and watches nobody.
func TestContextOfAnAnsweredRequestHasEnded(t *testing.T) {
	t.Parallel()
	kept := make(chan context.Context, 2)
	addr, _ := start(t, listener.Options{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		kept <- r.Context()
		if r.Context().Err() != nil {
			t.Error("the context has ended before its request")
		}
	})})
	c := dial(t, addr)
	send(t, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"+marker)
	if all, _ := replies(t, c); len(all) != 2 {
		t.Fatalf("answers %v", statuses(all))
	}
	for range 2 {
		ctx := <-kept
		select {
		case <-ctx.Done():
		default:
			t.Error("the context goes on")
		}
		if ctx.Err() == nil || ctx.Value(http.LocalAddrContextKey) == nil {
			t.Error("the context has no error, or no address")
		}
		child, cancel := context.WithTimeout(ctx, time.Hour)
		if child.Err() == nil {
			t.Error("what is derived from it goes on")
		}
		cancel()
	}
}

// Whatever the client sends ahead, its leaving is noticed: or else one byte
// would do to have an app server work on for nobody.
func TestClientThatSendsAheadIsWatched(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string][2]string{
		"with the request":         {"\r\n", ""},
		"a request with it":        {marker, ""},
		"later":                    {"", "\r\n"},
		"a request, later":         {"", marker},
		"some with it, some later": {"GET /", " HTTP/1.1\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			waits, left := make(chan bool, 2), make(chan bool, 2)
			addr, _ := start(t, listener.Options{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				done := r.Context().Done()
				waits <- true
				<-done
				left <- true
			})})
			c := dial(t, addr)
			send(t, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"+ahead[0])
			<-waits
			time.Sleep(10 * time.Millisecond)
			send(t, c, ahead[1])
			time.Sleep(10 * time.Millisecond)
			c.Close()
			select {
			case <-left:
			case <-time.After(20 * time.Second):
				t.Fatal("nobody noticed that the client is gone")
			}
		})
	}
}

// What was sent ahead while the client was watched is served at once, and not
// when more of it comes.
func TestRequestSentAheadOfAWatchedOneIsServed(t *testing.T) {
	t.Parallel()
	entered, goOn := make(chan bool), make(chan bool)
	addr, _ := start(t, listener.Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			_ = r.Context().Done()
			entered <- true
			<-goOn
		}
		_, _ = io.WriteString(w, r.URL.Path)
	})})
	for _, before := range []string{"", "GET /marker HTTP/1.1\r\nHo"} {
		c := dial(t, addr)
		send(t, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"+before)
		<-entered
		send(t, c, marker[len(before):])
		time.Sleep(20 * time.Millisecond)
		goOn <- true
		if all, closed := replies(t, c); len(all) != 2 || all[1].Text != "/marker" || !closed {
			t.Errorf("%d answers, closed %v", len(all), closed)
		}
	}
}

// TestClientIsWatchedWhileItsBodyWaitsToBeRead: a body that has arrived with the head is in the way of nothing.
func TestClientIsWatchedWhileItsBodyWaitsToBeRead(t *testing.T) {
	t.Parallel()
	waits, left := make(chan bool, 1), make(chan string, 1)
	addr, _ := start(t, listener.Options{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		done := r.Context().Done()
		waits <- true
		<-done
		body, _ := io.ReadAll(r.Body)
		left <- string(body)
	})})
	c := dial(t, addr)
	send(t, c, post("Content-Length: 3")+"abc")
	<-waits
	c.Close()
	select {
	case body := <-left:
		if body != "abc" {
			t.Errorf("the body is %q", body)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the context outlives its client")
	}
}
