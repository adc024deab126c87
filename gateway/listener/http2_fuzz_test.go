package listener

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"pgregory.net/rapid"

	"github.com/headgate/headgate/internal/http1"
	"github.com/headgate/headgate/internal/httpx"
)

// hangUp is a connection whose client has said all that it will, and hears everything.
type hangUp struct {
	said
	mu    sync.Mutex
	heard bytes.Buffer
}

func (h *hangUp) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.heard.Write(p)
}

// FuzzHTTP2 sends whatever frames: no request that could be read in two ways reaches the handler, what is sent back is
// well-formed, and everything ends.
func FuzzHTTP2(f *testing.F) {
	frames := func(write func(fr *http2.Framer, block func(fields ...string) []byte)) []byte {
		var b, header bytes.Buffer
		fr := http2.NewFramer(&b, nil)
		fr.AllowIllegalWrites = true
		encoder := hpack.NewEncoder(&header)
		write(fr, func(fields ...string) []byte {
			header.Reset()
			for i := 0; i < len(fields); i += 2 {
				_ = encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
			}
			return bytes.Clone(header.Bytes())
		})
		return b.Bytes()
	}
	f.Add(frames(func(fr *http2.Framer, block func(...string) []byte) {
		_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100})
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: block(":method", "POST", ":scheme", "http", ":path", "/a?b", ":authority", "a", "content-length", "5")})
		_ = fr.WriteDataPadded(1, false, []byte("abc"), make([]byte, 5))
		_ = fr.WriteData(1, true, []byte("de"))
		_ = fr.WriteWindowUpdate(0, 10)
		_ = fr.WriteWindowUpdate(1, 1000)
	}))
	f.Add(frames(func(fr *http2.Framer, block func(...string) []byte) {
		_ = fr.WriteSettings()
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":method", "GET", ":scheme", "http")})
		_ = fr.WriteContinuation(1, true, block(":path", "/", ":authority", "a", "cookie", "a=b", "cookie", "c=d"))
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: true, BlockFragment: block("trailer", "x")})
		_ = fr.WriteRSTStream(1, http2.ErrCodeCancel)
		_ = fr.WritePriority(3, http2.PriorityParam{StreamDep: 1})
		_ = fr.WritePing(false, [8]byte{1})
		_ = fr.WriteGoAway(1, http2.ErrCodeNo, nil)
	}))
	f.Fuzz(func(t *testing.T, sent []byte) {
		var mu sync.Mutex
		var met []*http.Request
		s, err := New(Options{HTTP1: true, H2C: true, MaxHeaderBytes: 4 << 10, WriteStall: time.Millisecond, Logger: slog.New(slog.DiscardHandler),
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				met = append(met, r)
				mu.Unlock()
				_, _ = io.Copy(w, r.Body)
			})})
		if err != nil {
			t.Fatal(err)
		}
		conn := &hangUp{said: said{pieces: [][]byte{[]byte(preface), sent}}}
		sock := &socket{Conn: conn, stall: -1, release: func() {}}
		c := newHTTP2Conn(sock, sock, s, nil)
		s.conns.add(c)
		c.serve()
		for end := time.Now().Add(10 * time.Second); !s.conns.closeIdle(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("a handler does not end")
			}
		}
		s.workers.close()
		mu.Lock()
		defer mu.Unlock()
		for _, r := range met {
			checkSound(t, r)
		}
		conn.mu.Lock()
		defer conn.mu.Unlock()
		answers := http2.NewFramer(nil, &conn.heard)
		answers.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		for {
			if _, err := answers.ReadFrame(); err != nil {
				if err != io.EOF && err != io.ErrUnexpectedEOF {
					t.Errorf("the server sent what is no frame: %v", err)
				}
				return
			}
		}
	})
}

// checkSound holds that a request could go on over HTTP/1 without becoming another one.
func checkSound(t *testing.T, r *http.Request) {
	t.Helper()
	if !httpx.IsToken(r.Method) || r.Host == "" || r.URL == nil || r.Method != http.MethodConnect && (r.RequestURI == "" || strings.ContainsAny(r.RequestURI, " \t\r\n#")) {
		t.Errorf("%s %q of %q", r.Method, r.RequestURI, r.Host)
	}
	for name, values := range r.Header {
		if !httpx.IsToken(name) || new(http1.FieldCheck).Field(name, "1") != nil || slices.ContainsFunc(values, func(v string) bool { return !http1.IsClean(v) }) {
			t.Errorf("%q: %q", name, values)
		}
	}
}

// What is encoded here is what x/net decodes.
func TestHTTP2HeaderSectionsSayWhatTheHeaderSays(t *testing.T) {
	t.Parallel()
	names := make([]string, 0, len(tableNames))
	for name := range tableNames {
		names = append(names, name)
	}
	slices.Sort(names)
	rapid.Check(t, func(t *rapid.T) {
		status := rapid.IntRange(200, 999).Draw(t, "status")
		length := rapid.Int64Min(0).Draw(t, "length")
		h := http.Header{"Connection": {"close"}, "Transfer-Encoding": {"chunked"}, "No name": {"x"}, "Content-Length": {"7"}}
		want := map[string][]string{}
		for range rapid.IntRange(0, 10).Draw(t, "fields") {
			name := rapid.OneOf(rapid.SampledFrom(names), rapid.StringMatching(`X-[A-Za-z0-9]{1,20}`)).Draw(t, "name")
			value := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z]{0,300}`)).Draw(t, "value")
			h[name] = append(h[name], value)
			lower := strings.ToLower(name)
			want[lower] = append(want[lower], http1.CleanValue(value))
		}
		b := appendStatus([]byte{noTable}, status)
		b = appendContentLength(appendHeader(b, h), length)
		want[":status"], want["content-length"] = []string{strconv.Itoa(status)}, []string{strconv.FormatInt(length, 10)}
		fields, err := hpack.NewDecoder(4096, nil).DecodeFull(b)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string][]string{}
		for _, f := range fields {
			got[f.Name] = append(got[f.Name], f.Value)
		}
		// names that differ in case alone are one
		for name := range want {
			slices.Sort(want[name])
			slices.Sort(got[name])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
