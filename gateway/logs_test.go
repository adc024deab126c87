package main

import (
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An app server can't write lines of its own into the gateway's log: net/http prints
// each frame of a type that it does not know.
func TestFramesOfAppServersAreNotPrinted(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answerWithUnknownFrames(c)
		}
	}()
	p := startProcess(t, `
upstreams: {app: {servers: ["http://`+l.Addr().String()+`"], protocol: h2c}}
routes: [{path: /*, upstream: app}]
`)
	for range 3 {
		if status, _, _ := p.do("GET", "/"); status != 204 {
			t.Fatalf("status %d", status)
		}
	}
	if out := p.output.String(); strings.Contains(out, "frame") || strings.Contains(out, "http2.") {
		t.Errorf("the log has\n%s", out)
	}
}

func answerWithUnknownFrames(c net.Conn) {
	defer c.Close()
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := c.Read(preface); err != nil {
		return
	}
	framer := http2.NewFramer(c, c)
	if framer.WriteSettings() != nil {
		return
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = framer.WriteSettingsAck()
			}
		case *http2.HeadersFrame:
			_ = framer.WriteRawFrame(0x55, 0, f.StreamID, []byte("time=1970 level=ERROR msg=forged"))
			var block strings.Builder
			_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "204"})
			_ = framer.WriteHeaders(http2.HeadersFrameParam{
				StreamID: f.StreamID, BlockFragment: []byte(block.String()), EndHeaders: true, EndStream: true,
			})
		}
	}
}
