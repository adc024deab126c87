package replay_test

import (
	"strings"
	"testing"

	"github.com/headgate/headgate/gateway/replay"
	"github.com/headgate/headgate/gateway/replay/logs"
)

// A line about an attempt at a job is about no client's request, and the report says what it knows nothing of.
func TestAttemptsAtJobsAreNoRequests(t *testing.T) {
	t.Parallel()
	const log = `{"time":"2026-01-01T00:00:00.000000Z","client_ip":"192.0.2.1","method":"POST","host":"h","uri":"/images/1","proto":"HTTP/1.1","status":202,"bytes":10,"duration_ms":1,"route":"resize","queue":"images","job":"images-1"}
{"time":"2026-01-01T00:00:01.000000Z","client_ip":"192.0.2.1","method":"POST","host":"h","uri":"/images/1","proto":"HTTP/1.1","status":200,"bytes":10,"duration_ms":900,"route":"resize","upstream":"http://a","queue":"images","job":"images-1","attempt":1}
`
	r := run(t, replay.Options{
		Policy: parse(t, shop+"queues: {images: {}}\nroutes: [{name: resize, path: /images/*, upstream: shop, queue: images}]\n"),
		Logs:   []logs.Log{text("access.log", log)},
	})
	if r.Requests != 1 {
		t.Errorf("%d requests", r.Requests)
	}
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, "Nothing is known of jobs") {
		t.Errorf("the notes say nothing of jobs: %s", notes)
	}
}
