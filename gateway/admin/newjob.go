package admin

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/internal/yamlnode"
	"github.com/headgate/headgate/middleware/jobs"
	"github.com/headgate/headgate/middleware/proxy"
	"github.com/headgate/headgate/middleware/session"
	"github.com/labstack/echo/v4"
	"golang.org/x/net/http/httpguts"
)

// NewJob is a job that an app enqueues.
type NewJob struct {
	Method   string // default POST
	URL      string // the path, and query, that the app server is sent; a whole URL names the Host as well
	Upstream string
	Header   http.Header
	Body     []byte
	Delay    time.Duration // at most one of Delay and At
	At       time.Time
	Key      string // the same key is the same job, see Idempotency-Key
}

// newJob is a NewJob as JSON has it.
type newJob struct {
	Method     string                  `json:"method"`
	URL        string                  `json:"url"`
	Upstream   string                  `json:"upstream"`
	Headers    map[string]headerValues `json:"headers"`
	Body       *string                 `json:"body"`        // text
	BodyBase64 *string                 `json:"body_base64"` // any bytes
	Delay      duration                `json:"delay"`
	At         *time.Time              `json:"at"`
	Key        string                  `json:"key"`
}

// headerValues is one value, or a list.
type headerValues []string

func (v *headerValues) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '[' {
		return json.Unmarshal(text, (*[]string)(v))
	}
	var one string
	if err := json.Unmarshal(text, &one); err != nil {
		return err
	}
	*v = headerValues{one}
	return nil
}

// duration is "90s", or a number of seconds.
type duration time.Duration

func (d *duration) UnmarshalJSON(text []byte) error {
	var seconds float64
	if json.Unmarshal(text, &seconds) == nil {
		if seconds < 0 || seconds > 366*24*60*60 {
			return errors.New("delay is from 0 to 366 days")
		}
		*d = duration(seconds * float64(time.Second))
		return nil
	}
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	parsed, err := yamlnode.ParseDuration(s)
	if err != nil || parsed < 0 || parsed > 366*24*time.Hour {
		return fmt.Errorf("delay is a number of seconds, or a duration like 90s or 7d, up to 366d: %q is not", s)
	}
	*d = duration(parsed)
	return nil
}

// readJobs reads one job, or a list of them.
func readJobs(body io.Reader) ([]NewJob, error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	text = bytes.TrimSpace(text)
	var list []newJob
	if len(text) > 0 && text[0] == '[' {
		err = strictly(text, &list)
	} else {
		list = make([]newJob, 1)
		err = strictly(text, &list[0])
	}
	switch {
	case err != nil:
		return nil, badJob(fmt.Sprintf(`The body is no job, nor a list of them (%v); send JSON such as {"url": "/tasks/mail", "upstream": "shop", "body": "..."}.`, err))
	case len(list) == 0:
		return nil, badJob("The list has no job.")
	case len(list) > jobs.MaxList:
		return nil, badJob(fmt.Sprintf("A list has at most %d jobs.", jobs.MaxList))
	}
	all := make([]NewJob, len(list))
	for i := range list {
		if all[i], err = list[i].job(); err != nil {
			if len(list) > 1 {
				err = fmt.Errorf("job %d of the list: %w", i+1, err)
			}
			return nil, badJob(err.Error() + ".")
		}
	}
	return all, nil
}

func badJob(detail string) error { return echo.NewHTTPError(http.StatusBadRequest, detail) }

// strictly decodes one JSON value without unknown keys.
func strictly(text []byte, v any) error {
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(v); err != nil {
		return err
	}
	if _, more := in.Token(); more != io.EOF {
		return errors.New("there is more behind the JSON value")
	}
	return nil
}

// job checks what an app has written.
func (n *newJob) job() (j NewJob, err error) {
	j = NewJob{Method: n.Method, URL: n.URL, Upstream: n.Upstream, Header: http.Header{}, Delay: time.Duration(n.Delay), Key: n.Key}
	if j.Method == "" {
		j.Method = http.MethodPost
	}
	if !httpx.IsToken(j.Method) || j.Method == http.MethodConnect || j.Method == http.MethodTrace {
		return j, fmt.Errorf("%q is not a method that is forwarded", j.Method)
	}
	if n.At != nil {
		if j.At = *n.At; j.Delay != 0 {
			return j, errors.New("both delay and at are given")
		}
	}
	if len(n.Key) > 255 || strings.ContainsFunc(n.Key, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
		return j, errors.New("key has up to 255 printable characters of ASCII")
	}
	if j.Body, err = n.body(); err != nil {
		return j, err
	}
	for name, values := range n.Headers {
		for _, value := range values {
			if why := unfitHeader(name, value); why != "" {
				return j, fmt.Errorf("headers: %s: %s", name, why)
			}
			j.Header.Add(name, value)
		}
	}
	return j, nil
}

func (n *newJob) body() ([]byte, error) {
	switch {
	case n.Body != nil && n.BodyBase64 != nil:
		return nil, errors.New("both body and body_base64 are given")
	case n.Body != nil:
		return []byte(*n.Body), nil
	case n.BodyBase64 == nil:
		return nil, nil
	}
	body, err := base64.StdEncoding.DecodeString(*n.BodyBase64)
	if err != nil {
		return nil, fmt.Errorf("body_base64: %w", err)
	}
	return body, nil
}

// unfitHeader says why an app can't give a job's request a field; "" where it can.
func unfitHeader(name, value string) string {
	canonical := http.CanonicalHeaderKey(name)
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return "it is not the name of a field"
	case !httpguts.ValidHeaderFieldValue(value):
		return "its value has characters that no field can have"
	case session.Reserved(name):
		return "the gateway alone says it to the app server"
	case proxy.IsForwarding(name) || canonical == "Via":
		return "the gateway alone says who asks, and how"
	case httpx.IsHopByHop(canonical) || canonical == "Content-Length" || canonical == "Expect":
		return "it concerns a connection, and the job has none yet"
	case canonical == "Host":
		return "write url as a whole URL, whose host the app server is sent"
	case canonical == "Idempotency-Key":
		return "write key"
	case canonical == "Cookie" || canonical == "Authorization":
		return "it proves who sends a request, and a job is stored without"
	}
	return ""
}
