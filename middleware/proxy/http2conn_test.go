package proxy

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/headgate/headgate/middleware/proxy/internal/http1client"
)

// gRPC servers close a connection on which they are asked more often than every five minutes whether they are there. One that is lost is found nevertheless.
func TestHTTP2ConnectionsAreAskedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gatewayEnd, appEnd := net.Pipe()
		pings := make(chan time.Duration, 100)
		began := time.Now()
		go func() {
			defer close(pings)
			_, _ = io.CopyN(io.Discard, appEnd, int64(len(http2.ClientPreface)))
			frames := http2.NewFramer(appEnd, appEnd)
			go func() { _ = frames.WriteSettings() }() // a pipe has no room: both ends write at first
			for {
				f, err := frames.ReadFrame()
				if err != nil {
					return
				}
				if _, ok := f.(*http2.PingFrame); ok {
					pings <- time.Since(began)
				}
			}
		}()
		c := newHTTP2Client(http1client.Options{MaxIdle: 1})
		conn, err := c.begin(new(http2Dial), gatewayEnd)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if first := <-pings; first <= 5*time.Minute || first > 6*time.Minute {
			t.Errorf("the first ping came after %v", first)
		}
		if conn.Err() == nil {
			t.Error("the connection to a server that does not answer is still in use")
		}
		if more, ok := <-pings; ok {
			t.Errorf("another ping came after %v", more)
		}
	})
}
