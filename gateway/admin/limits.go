package admin

import "time"

// DeniedLimits is the answer to GET /limits: who is denied or banned at the time.
type DeniedLimits struct {
	Limits []DeniedLimit `json:"limits"`
	// Bans is how many bans there are, of which the list may have but those that last longest.
	Bans int `json:"bans"`
	// Note is what an operator should know of the list, such as that it is about one instance alone.
	Note string `json:"note,omitempty"`
}

// DeniedLimit is a limit that denies clients.
type DeniedLimit struct {
	Limit   string      `json:"limit"`
	KeyedBy []string    `json:"keyed_by,omitempty"`
	Keys    []DeniedKey `json:"keys"`
}

// DeniedKey is a key of a limit whose requests are denied.
type DeniedKey struct {
	// Key has the values of the key, in order: in full, but those of headers, cookies and parameters as four
	// characters and a hash. DELETE /limits/{limit}?key=K takes both.
	Key []string `json:"key"`
	// Denials are those of the last minutes, over all instances; they halve every ten minutes.
	Denials int64 `json:"denials"`
	// RetryAfter is in how many seconds the key is admitted again, as far as is known; of a ban, when it ends.
	RetryAfter int64     `json:"retry_after_seconds,omitempty"`
	Banned     bool      `json:"banned,omitempty"`
	LastDenied time.Time `json:"last_denied,omitzero"`
}
