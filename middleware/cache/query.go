package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/middleware/cache/internal/collapse"
)

// content is what a QUERY asks. RFC 10008 section 2.7 has it in the key, with the fields that say what it is. Content is
// compared octet by octet: what else might mean the same is for the app to know.
type content struct {
	bytes   []byte
	sum     [sha256.Size]byte
	header  http.Header
	holders atomic.Int32 // the request, and the fetches that it has caused: the last gives back the bytes
}

// contentFields are the fields about a request's content that are part of a QUERY's key (RFC 9110 section 8).
var contentFields = []string{"Content-Type", "Content-Encoding", "Content-Language", "Content-Location"}

func newContent(b []byte, h http.Header) *content {
	q := &content{bytes: b, sum: sha256.Sum256(b), header: h}
	q.holders.Store(1)
	return q
}

// appendText writes the content's part of a key's text. Here alone a hash stands for what it was made of: with the
// content itself, every entry would carry up to Rule.QueryMax bytes more. No key without content has such an end, as a
// part that follows there is the canonical name of a field.
func (q *content) appendText(b []byte) []byte {
	b = appendPart(b, httpx.MethodQuery)
	for _, name := range contentFields {
		values := q.header[name]
		b = binary.BigEndian.AppendUint32(b, uint32(len(values)))
		for _, value := range values {
			b = appendPart(b, value)
		}
	}
	b = binary.BigEndian.AppendUint64(b, uint64(len(q.bytes)))
	return append(b, q.sum[:]...)
}

// parts are the content's part of a key, for people to read.
func (q *content) parts() []string {
	var parts []string
	for _, name := range contentFields {
		if values, ok := q.header[name]; ok {
			parts = append(parts, name+": "+strings.Join(values, ", "))
		}
	}
	return append(parts, httpx.MethodQuery+" of "+strconv.Itoa(len(q.bytes))+" bytes, sha256 "+hex.EncodeToString(q.sum[:]))
}

// setOn gives a request the content to send.
func (q *content) setOn(req *http.Request) {
	req.TransferEncoding, req.Trailer = nil, nil
	req.ContentLength = int64(len(q.bytes))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(q.bytes)), nil }
	if req.Body = http.NoBody; len(q.bytes) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(q.bytes))
	}
}

// hold keeps the content's bytes reserved until release.
func (q *content) hold() {
	if q != nil {
		q.holders.Add(1)
	}
}

func (q *content) release(budget *collapse.Budget) {
	if q != nil && q.holders.Add(-1) == 0 {
		budget.Give(int64(len(q.bytes)))
	}
}

// Why a QUERY goes past the cache, for Cache-Status.
const (
	detailQueryTooLong = "query-too-long"   // its content is longer than Rule.QueryMax
	detailQueryTrailer = "query-trailer"    // it has trailer fields, which no key has
	detailQueryMemory  = "query-memory"     // other requests hold all bytes that there are for such content
	detailQueryBroken  = "query-incomplete" // the content can't be read to its end
	detailQueryUnknown = "query-unknown"    // of a Plan whose request has no content to look at
)

// readContent reads the content of a QUERY into x.content, within the bounds in size and time that the request's body has
// anyway. Where that is not all, or too much, it is false, and says why in x.detail; the next handler then reads
// what was read, and after it the rest or the error.
func (x *request) readContent() bool {
	req, most := x.c.Request(), x.route.rule.QueryMax
	switch {
	case req.ContentLength > most:
		x.detail = detailQueryTooLong
		return false
	case len(req.Trailer) > 0:
		x.detail = detailQueryTrailer
		return false
	}
	var read []byte
	var err error
	if hasContent(req) {
		read, err = x.cache.readWithin(req.Body, most, req.ContentLength)
	}
	copied := req.WithContext(req.Context())
	x.c.SetRequest(copied)
	switch {
	case err != nil:
		x.detail = detailQueryBroken
	case int64(len(read)) > most:
		x.detail = detailQueryTooLong
	case len(req.Trailer) > 0: // over HTTP/2 it need not be announced
		x.detail = detailQueryTrailer
	default:
		return x.takeContent(copied, read)
	}
	if err == errQueryMemory {
		x.detail, err = detailQueryMemory, nil
	}
	x.unasked = int64(len(read))
	rest := io.Reader(req.Body)
	if err != nil {
		rest = failing{err}
	}
	copied.Body = replayed{io.MultiReader(bytes.NewReader(read), rest), req.Body}
	return false
}

// takeContent makes what was read the content of the request, which may be sent more than once.
func (x *request) takeContent(req *http.Request, read []byte) bool {
	x.content = newContent(read, req.Header)
	x.content.setOn(req)
	if _, ok := req.Header["Expect"]; ok { // it has been met: the client has sent its content
		req.Header = maps.Clone(req.Header)
		delete(req.Header, "Expect")
	}
	return true
}

var errQueryMemory = errors.New("cache: no memory is left for the content of a QUERY")

// readWithin reads a body to its end, or to one byte beyond most. What it returns is reserved of c.asking, also with an error.
func (c *Cache) readWithin(body io.Reader, most, length int64) ([]byte, error) {
	end := most + 1
	if length >= 0 {
		end = length
	}
	var read []byte
	for piece := min(end, 4<<10); ; piece = min(int64(len(read)), end-int64(len(read))) {
		if !c.asking.Take(piece) {
			return read, errQueryMemory
		}
		at := len(read)
		read = append(read, make([]byte, piece)...)
		n, err := io.ReadFull(body, read[at:])
		read = read[:at+n]
		c.asking.Give(piece - int64(n))
		switch {
		case int64(len(read)) == end, length < 0 && (err == io.EOF || err == io.ErrUnexpectedEOF):
			return read, nil
		case err != nil:
			return read, err
		}
	}
}

// replayed is a body whose beginning has been read already.
type replayed struct {
	io.Reader
	io.Closer
}

// failing is the end of a body that can't be read any further.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// planContent is the content of a QUERY, and nil for other methods. detail says why the request goes past the cache.
func (r *Route) planContent(req *http.Request) (asks *content, detail string) {
	if req.Method != httpx.MethodQuery {
		return nil, ""
	}
	if req.GetBody == nil {
		return nil, detailQueryUnknown
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, detailQueryBroken
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, r.rule.QueryMax+1))
	switch {
	case err != nil:
		return nil, detailQueryBroken
	case int64(len(b)) > r.rule.QueryMax:
		return nil, detailQueryTooLong
	}
	return newContent(b, req.Header), ""
}
