package session

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"time"

	"github.com/headgate/headgate/internal/httpx"
)

const (
	// envelopeVersion is the version of the record's JSON. A record of another
	// version is an error, never "logged out": during an upgrade both run.
	envelopeVersion = 1

	// grace is how long a replaced ID still serves the requests that are under
	// way with it, counted from the first request with the new one.
	grace = 30 * time.Second

	// maxIDs bounds the IDs of one session that are valid at once. Two or three
	// is usual: more than that takes several rotations within one grace.
	maxIDs = 32
)

// record is a session as it is stored, under its handle. User, Host, Created and the
// handle never change; everything else does, by compare-and-swap on Revision.
//
// Version and Revision come first and in this order: the swap script compares
// the beginning of the stored text (see [record.head]). Times are Unix
// milliseconds.
type record struct {
	Version  int             `json:"v"`
	Revision uint64          `json:"n"`
	User     string          `json:"user,omitempty"` // empty: anonymous
	Latin1   bool            `json:"l1,omitempty"`   // the app server writes the user's name in Latin-1
	Host     string          `json:"host,omitempty"` // where it is valid: see binding.go; empty: made before records had it, and valid nowhere
	Plan     string          `json:"plan,omitempty"` // that the app has put the session on; empty: none
	Created  int64           `json:"created"`
	Seen     int64           `json:"seen"`               // at the last touch
	Expires  int64           `json:"exp,omitempty"`      // as the app's Options.MaxAge or Headgate-Login-Lifetime says, if one does
	Remember bool            `json:"rem,omitempty"`      // it may last for Settings.Remember, and be idle
	Browser  bool            `json:"brow,omitempty"`     // its cookie ends with the browser
	Ends     int64           `json:"ends,omitempty"`     // set once the session of a later login has been presented
	Replaced string          `json:"replaced,omitempty"` // the handle of that session
	Replaces string          `json:"replaces,omitempty"` // the handle of the session that this login replaces
	IDs      []issuedID      `json:"ids"`                // oldest first
	Addr     string          `json:"addr,omitempty"`     // the client's at creation
	Agent    string          `json:"agent,omitempty"`
	Data     json.RawMessage `json:"data"`
}

// issuedID is one ID, that is one token, of a session.
type issuedID struct {
	Sum    digest  `json:"h"`
	Issued int64   `json:"at"`
	Used   bool    `json:"used,omitempty"`  // it has been presented
	Ends   int64   `json:"ends,omitempty"`  // set once a younger one has been presented
	From   *digest `json:"from,omitempty"`  // the ID that it succeeds
	Nonce  *digest `json:"nonce,omitempty"` // and what derives it from that one
}

func (r *record) encode() ([]byte, error) {
	r.Version = envelopeVersion
	if len(r.Data) == 0 {
		r.Data = json.RawMessage("{}")
	}
	return json.Marshal(r)
}

func decodeRecord(raw []byte) (*record, error) {
	r := new(record)
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, fmt.Errorf("session record: %w", err)
	}
	if r.Version != envelopeVersion {
		return nil, fmt.Errorf("session record: version %d, and this program knows %d; run the same version of it everywhere", r.Version, envelopeVersion)
	}
	return r, nil
}

// head is how the encoded record begins at this revision, and at no other.
func (r *record) head() string {
	return fmt.Sprintf(`{"v":%d,"n":%d,`, envelopeVersion, r.Revision)
}

// userAsSent is the user's name in the octets in which the app server has sent it. It gets no
// others back: to an app that reads Latin-1, UTF-8 would be the name of another user.
func (r *record) userAsSent() string {
	if r.Latin1 {
		return httpx.Latin1(r.User)
	}
	return r.User
}

// clone returns a copy whose fields and IDs can be changed freely.
func (r *record) clone() *record {
	c := *r
	c.IDs = append([]issuedID(nil), r.IDs...)
	return &c
}

// putOn puts a user's session on a plan, if one is given. An anonymous session, of which a client can
// get any number, has none.
func (r *record) putOn(plan string) {
	if plan != "" && r.User != "" {
		r.Plan = plan
	}
}

// find returns the place among IDs of the presented token, or -1.
func (r *record) find(sum digest) int {
	at := -1
	for i := range r.IDs {
		if subtle.ConstantTimeCompare(r.IDs[i].Sum[:], sum[:]) == 1 {
			at = i
		}
	}
	return at
}

// live reports whether the session is valid at now under these timeouts.
func (r *record) live(now time.Time, s *Settings) bool {
	return r.Host != "" && s.remaining(r, now) > 0
}

// remaining is how much longer the session lives if it gets no more requests.
func (s *Settings) remaining(r *record, now time.Time) time.Duration {
	ms := now.UnixMilli()
	left := s.longest(r, now)
	if !s.remembers(r) {
		left = min(left, s.IdleTimeout-since(ms, r.Seen))
	}
	if r.Ends != 0 {
		left = min(left, time.Duration(r.Ends-ms)*time.Millisecond)
	}
	return left
}

// longest is how much longer the session may live at most: for as long, browsers keep its cookie.
func (s *Settings) longest(r *record, now time.Time) time.Duration {
	most := s.AbsoluteTimeout
	if s.remembers(r) {
		most = s.Remember
	}
	left := most - since(now.UnixMilli(), r.Created)
	if r.Expires != 0 {
		left = min(left, time.Duration(r.Expires-now.UnixMilli())*time.Millisecond)
	}
	return left
}

// remembers reports whether a login's lifetime takes the place of the timeouts.
func (s *Settings) remembers(r *record) bool { return r.Remember && s.Remember > s.AbsoluteTimeout }

// since is never negative: instances' clocks differ a little.
func since(now, then int64) time.Duration {
	return time.Duration(max(now-then, 0)) * time.Millisecond
}

// valid reports whether the ID at place i still counts.
func (r *record) valid(i int, now time.Time) bool {
	return i >= 0 && (r.IDs[i].Ends == 0 || r.IDs[i].Ends > now.UnixMilli())
}

// newest reports whether no younger ID than that at place i has been presented.
func (r *record) newest(i int) bool {
	for _, id := range r.IDs[i+1:] {
		if id.Used {
			return false
		}
	}
	return true
}

// presented notes that the ID at place i has arrived, and reports whether that is
// for the first time: older IDs then have [grace] left. Younger ones stay: of two
// renewals under way, the browser may end up with either.
func (r *record) presented(i int, now time.Time) bool {
	if r.IDs[i].Used {
		return false
	}
	r.IDs[i].Used = true
	r.IDs[i].From, r.IDs[i].Nonce = nil, nil
	for k := range i {
		if r.IDs[k].Ends == 0 {
			r.IDs[k].Ends = now.Add(grace).UnixMilli()
		}
	}
	return true
}

// retire gives the session its last [grace], as that of a later login has been presented. It
// reports whether that is new.
func (r *record) retire(now time.Time, by string) bool {
	if r.Ends != 0 {
		return false
	}
	r.Ends, r.Replaced = now.Add(grace).UnixMilli(), by
	return true
}

// renewed makes sure that the ID at place i has a successor that the client may
// still accept, and returns it. Where there already is one, that is returned
// again and the record stays as it is.
func (r *record) renewed(i int, presented token, now time.Time) (successor token, changed bool) {
	from := r.IDs[i].Sum
	for _, id := range r.IDs[i+1:] {
		if !id.Used && id.From != nil && *id.From == from && id.Nonce != nil {
			return presented.successor(*id.Nonce), false
		}
	}
	nonce := newNonce()
	successor = presented.successor(nonce)
	r.dropEnded(now)
	r.IDs = append(r.IDs, issuedID{
		Sum: successor.sum(), Issued: now.UnixMilli(), From: &from, Nonce: &nonce,
	})
	return successor, true
}

// dropEnded forgets the IDs whose time has ended, and the eldest if there are
// still too many to add one more.
func (r *record) dropEnded(now time.Time) {
	ms := now.UnixMilli()
	kept := r.IDs[:0]
	for _, id := range r.IDs {
		if id.Ends == 0 || id.Ends > ms {
			kept = append(kept, id)
		}
	}
	if over := len(kept) - (maxIDs - 1); over > 0 {
		kept = append(kept[:0], kept[over:]...)
	}
	r.IDs = kept
}
