package jobs

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Status is how a job stands.
type Status string

const (
	Queued    Status = "queued"    // it is due, and runs when a place is free
	Waiting   Status = "waiting"   // for its time: it was enqueued for later, or its next attempt comes after a pause
	Running   Status = "running"   // a worker holds its lease
	Done      Status = "done"      // the app server answered 2xx
	Failed    Status = "failed"    // another answer was final, or attempts or max_age are used up; it can be retried
	Cancelled Status = "cancelled" // by who asked for it, by an operator, or by the end of a user's sessions
)

// Values are the words of a status.
func (Status) Values() []string {
	return []string{string(Queued), string(Waiting), string(Running), string(Done), string(Failed), string(Cancelled)}
}

// Over reports whether a job with this status runs no more, unless it is retried.
func (s Status) Over() bool { return s == Done || s == Failed || s == Cancelled }

// Owner is who asked for a job. A user stands before a client, and a client before an address: see [Owner.Owns]. The zero
// Owner is that of a job that no client asked for: of a schedule, of an app server, or a follow-up. Operators alone may ask about it.
type Owner struct {
	// User is the user of the session that asked, and Source and Host what sessions compare besides: who said that it is this
	// user, and the host that the session is valid at.
	User   string `json:"user,omitempty"`
	Source string `json:"source,omitempty"`
	Host   string `json:"host,omitempty"`
	// Client is the API client that asked.
	Client string `json:"client,omitempty"`
	// Addr is the address that asked.
	Addr netip.Addr `json:"addr,omitzero"`
}

// Owns reports whether asker is who asked for the job of o: the same user if a user asked, else the same API client if one
// asked, else the same address. No client owns a job that none asked for.
func (o Owner) Owns(asker Owner) bool {
	switch {
	case o.User != "":
		return o.User == asker.User && o.Source == asker.Source && o.Host == asker.Host
	case o.Client != "":
		return o.Client == asker.Client
	}
	return o.Addr.IsValid() && o.Addr == asker.Addr && asker.User == "" && asker.Client == ""
}

// identity tells owners apart for idempotency keys.
func (o Owner) identity() string {
	switch {
	case o.User != "":
		return "user\x00" + o.Source + "\x00" + o.User + "\x00" + o.Host
	case o.Client != "":
		return "client\x00" + o.Client
	case o.Addr.IsValid():
		return "addr\x00" + o.Addr.String()
	}
	return ""
}

// Job is a job as it stands.
type Job struct {
	ID     string `json:"id"`
	Queue  string `json:"queue"`
	Status Status `json:"status"`

	Method   string      `json:"method"`
	URL      string      `json:"url"`
	Upstream string      `json:"upstream,omitempty"`
	Route    string      `json:"route,omitempty"`
	Scheme   string      `json:"scheme,omitempty"`
	Host     string      `json:"host,omitempty"`
	Header   http.Header `json:"-"`
	// Body is given to a Runner alone, which must not change it.
	Body  []byte `json:"-"`
	Owner Owner  `json:"owner,omitzero"`
	// Key is the Idempotency-Key that it was enqueued with.
	Key string `json:"key,omitempty"`
	// Schedule is the schedule that enqueued it, and After the job that it is the follow-up of.
	Schedule string `json:"schedule,omitempty"`
	After    string `json:"after,omitempty"`

	// Attempts are those that have ended; Lost are times since then that the job came back without one.
	Attempts int `json:"attempts"`
	Lost     int `json:"lost,omitempty"`
	// AppStatus is the app server's last status code, 0 if it has not answered, and Reason says why the job is not done.
	AppStatus int    `json:"app_status,omitempty"`
	Reason    string `json:"reason,omitempty"`

	Created time.Time `json:"created"`
	// Due is when it runs at the earliest.
	Due      time.Time `json:"due,omitzero"`
	Started  time.Time `json:"started,omitzero"`  // of the last attempt
	Finished time.Time `json:"finished,omitzero"` // when it was over
	// Expires is when a job that is over is forgotten.
	Expires time.Time `json:"expires,omitzero"`
	// Cancelling: it was cancelled while it runs, and gets no further attempt.
	Cancelling bool `json:"cancelling,omitempty"`
	// Place is how many jobs of its queue are before it, itself included; 0 unless it is queued.
	Place int64 `json:"place,omitempty"`
	// Estimate is about how long it takes until it is done, by the durations of the attempts before it; 0 if it is over.
	Estimate time.Duration `json:"-"`
	// Bytes is what counts towards Queue.MaxBytes.
	Bytes int64 `json:"bytes"`
}

// Result is the app server's answer to the last attempt of a job that is over. Set-Cookie, Headgate-* and hop-by-hop
// fields are not part of it.
type Result struct {
	Status int
	Header http.Header
	Body   []byte
	// Truncated: the answer's body was longer than Queue.MaxBody, or Redis was full; what is missing is lost.
	Truncated bool
}

// head is what is stored of a job and never changes, before its body.
type head struct {
	Method   string       `json:"m"`
	URL      octets       `json:"u"`
	Upstream string       `json:"up,omitempty"`
	Route    string       `json:"rt,omitempty"`
	Scheme   string       `json:"sc,omitempty"`
	Host     string       `json:"ho,omitempty"`
	Header   storedFields `json:"h,omitempty"`
	Owner    Owner        `json:"o,omitzero"`
	Key      octets       `json:"k,omitempty"`
	Schedule string       `json:"s,omitempty"`
	After    string       `json:"a,omitempty"`
}

func (h *head) encode() []byte {
	b, err := json.Marshal(h)
	if err != nil {
		panic(err) // impossible: strings, maps of strings and an address
	}
	return b
}

// jobOverhead is about what a job takes in Redis besides its head and its body, in bytes: its state, its place in the queue, and the keys. Measured
// with BenchmarkWaiting; of a user's job it is some 650.
const jobOverhead = 640

// idBytes is how many random bits an ID has, by eight.
const idBytes = 16

var idCode = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// newID returns a new job's ID: the queue, which says where in a Cluster the job is, and 128 random bits, by which no one can guess it.
func newID(queue string) string {
	var b [idBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	return queue + "-" + idCode.EncodeToString(b[:])
}

// QueueOf returns the queue that an ID names; ok is false for what is not an ID.
func QueueOf(id string) (queue string, ok bool) {
	at := len(id) - 1 - idCode.EncodedLen(idBytes)
	if at < 1 || id[at] != '-' || strings.Trim(id[at+1:], "0123456789abcdefghjkmnpqrstvwxyz") != "" {
		return "", false
	}
	return id[:at], true
}

// digest is 128 bits of a hash of parts, each with its length before it, in hex.
func digest(parts ...string) string {
	h := sha256.New()
	var length [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(length[:], uint64(len(p)))
		h.Write(length[:])
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
