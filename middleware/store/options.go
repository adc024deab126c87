package store

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/internal/filestate"
	"github.com/headgate/headgate/internal/mask"
	"github.com/headgate/headgate/internal/suggest"
	"github.com/headgate/headgate/middleware/problem"
)

// Options says where counters, sessions and cached responses are shared.
type Options struct {
	// redis://, rediss:// or unix:// for one server; redis+cluster://a:1,b:2 (or
	// rediss+cluster://) or several redis:// with commas for a Cluster;
	// redis+sentinel://a:1,b:2/master (or rediss+sentinel://) for Sentinel. Default "":
	// everything lives in this process, which is right for one instance only.
	URL string `yaml:"url" config:"url" want:"a URL"`
	// A file that holds the URL, instead of url. It is read again for each new connection: another
	// password or address of a single server takes no restart.
	URLFile string `yaml:"url_file" config:"path" want:"a path"`
	Access  `yaml:",inline"`
	// The most that one request waits for Redis in all its checks together: session, limits, cache.
	// Default 100ms. A link to Redis that takes longer than a third of it there and back needs more.
	Timeout time.Duration `yaml:"timeout"`
	// The most that one request waits in all its writes together that its answer depends on: login,
	// logout, changed session data, purges. Not below timeout. Default 1s, or timeout where that is longer.
	WriteTimeout time.Duration `yaml:"write_timeout"`
	// How many replicas must have a login, a logout, changed session data, a block or a job before it is confirmed, so that a
	// failover loses none: Redis is asked (WAIT) within write_timeout, and where fewer have it the answer is
	// 503. Hazard: more than there are, and none is ever confirmed. Default 0: the primary alone, and a
	// failover may lose what its replicas did not have yet.
	WaitReplicas int `yaml:"wait_replicas" config:"protects"`
	// What every key in Redis begins with; not empty. Default "headgate:". Two gateways that
	// should not share anything need different ones.
	KeyPrefix string `yaml:"key_prefix"`
	// A Redis of its own for sessions, which limits and the cache then can neither fill nor slow
	// down. Default: that of url, where session and limits cost a request one round trip; with a
	// Redis of their own it is two.
	Sessions Separate `yaml:"sessions" config:"optional"`
	// A Redis of its own for cached responses: one that may evict, while sessions are in one that
	// may not. Default: that of url, over connections of its own.
	Cache Separate `yaml:"cache" config:"optional"`
	// A Redis of its own for jobs, which wait there for as long as it takes: it may not evict, and should keep what it has on
	// its disk (appendonly). Default: that of url, over connections of its own.
	Jobs Separate `yaml:"jobs" config:"optional"`
	// The most memory of Redis that cached responses take, over all instances together, and in a
	// Cluster over all masters. While it is used up, new ones are kept by the instance that fetched
	// them alone. Hazard: Redis needs more maxmemory than that, by what sessions and limits take:
	// a Redis that is full refuses logins, or evicts sessions. Default 256MiB.
	CacheBytes int64 `yaml:"cache_bytes" config:"size"`

	// Logger is told when Redis goes away and comes back. Nil means no log.
	Logger *slog.Logger `yaml:"-"`
}

// Separate is a Redis of its own for one feature, instead of the one of [Options.URL]. It
// inherits timeout, write_timeout and key_prefix, and nothing that says where a Redis is or who may use it.
type Separate struct {
	// Like redis.url. Default "": the Redis of redis.url.
	URL string `yaml:"url" config:"url" want:"a URL"`
	// A file that holds the URL, instead of url.
	URLFile string `yaml:"url_file" config:"path" want:"a path"`
	Access  `yaml:",inline"`
}

// Access is who the gateway is to a Redis, and how each knows the other.
type Access struct {
	// The ACL user. Default "": the one in the URL, or else Redis' default user.
	Username string `yaml:"username"`
	// A file that holds the password, instead of the URL. It is read again for each new
	// connection: another password takes no restart, and connections that Redis has accepted stay.
	PasswordFile string `yaml:"password_file" config:"path" want:"a path"`
	// For rediss URLs: certificates that the system does not have.
	TLS TLS `yaml:"tls" config:"optional"`
}

// TLS is how a connection to Redis is encrypted. Its files are read again for each new connection.
type TLS struct {
	// Certificates that are trusted instead of the system's roots, PEM. Default: the system's.
	CAFile string `yaml:"ca_file" config:"path" want:"a path"`
	// The gateway's own certificate, PEM, for a Redis that asks for one. Default: none.
	CertFile string `yaml:"cert_file" config:"path" want:"a path"`
	// The private key of cert_file, PEM.
	KeyFile string `yaml:"key_file" config:"path" want:"a path"`
	// The name that is sent (SNI) and that the certificate must hold. Default: the URL's host.
	ServerName string `yaml:"server_name"`
}

// given reports whether the feature has a Redis of its own.
func (s *Separate) given() bool { return s.URL != "" || s.URLFile != "" }

// SetDefaults fills in what is zero.
func (o *Options) SetDefaults() {
	if o.Timeout == 0 {
		o.Timeout = 100 * time.Millisecond
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = max(time.Second, o.Timeout)
	}
	if o.KeyPrefix == "" {
		o.KeyPrefix = "headgate:"
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 256 << 20
	}
}

// Validate says what is wrong with options whose defaults are set. An empty URL is none of
// it: a policy without Redis has one.
func (o *Options) Validate() []problem.Problem {
	var l problem.List
	if o.URL != "" {
		validateURL(&l, "url", o.URL)
	}
	o.Access.validate(&l, "", o.URL)
	for path, s := range map[string]*Separate{"sessions": &o.Sessions, "cache": &o.Cache, "jobs": &o.Jobs} {
		switch {
		case s.URL != "":
			validateURL(&l, path+".url", s.URL)
		case s.URLFile == "" && s.Access == (Access{}):
			continue
		case s.URLFile == "":
			l.Add(path, "add url, which may be that of redis", "%s has no url for what else it says", path)
		}
		s.Access.validate(&l, path+".", s.URL)
		if o.URL == "" && o.URLFile == "" {
			l.Add(path, "add redis.url, which may be the same", "limits have no Redis to be counted in")
		}
	}
	if o.Timeout < time.Millisecond || o.Timeout > time.Minute {
		l.Add("timeout", "choose one from 1ms to 1m", "requests can't wait that long for Redis")
	}
	if o.CacheBytes < minCacheBytes {
		l.Add("cache_bytes", "choose 1MiB or more", "that is less than a few responses take")
	}
	switch {
	case o.WriteTimeout < time.Millisecond || o.WriteTimeout > time.Minute:
		l.Add("write_timeout", "choose one from 1ms to 1m", "requests can't wait that long for Redis")
	case o.WriteTimeout < o.Timeout:
		l.Add("write_timeout", "raise it, or lower timeout", "write_timeout is %v, below timeout, which is %v", o.WriteTimeout, o.Timeout)
	}
	if o.WaitReplicas < 0 || o.WaitReplicas > 16 {
		l.Add("wait_replicas", "choose one from 0 to 16, not more than each primary has", "%d replicas can't be waited for", o.WaitReplicas)
	}
	if o.KeyPrefix == "" {
		l.Add("key_prefix", `leave it out for "headgate:"`, "the prefix is empty, and keys of other programs could be taken for the gateway's")
	}
	if strings.ContainsAny(o.KeyPrefix, "{}") {
		l.Add("key_prefix", "remove the braces", "braces say which slot of a Cluster a key is in, and this puts all into one")
	}
	if strings.ContainsAny(o.KeyPrefix, "*?[]\\ \r\n\t") {
		l.Add("key_prefix", "use letters, digits, - and :", "%s holds characters that mean something to Redis", problem.Quote(o.KeyPrefix))
	}
	return l
}

// validate says what is wrong with the access to the Redis of a URL; path is what the keys begin with.
func (a *Access) validate(l *problem.List, path, url string) {
	if (a.TLS.CertFile == "") != (a.TLS.KeyFile == "") {
		l.Add(path+"tls", "give both cert_file and key_file, or neither", "a certificate needs its key, and a key its certificate")
	}
	u, err := parseURL(url)
	if err != nil {
		return // said of the URL
	}
	if u.Password != "" && a.PasswordFile != "" {
		l.Add(path+"password_file", "remove it from the URL", "both the URL and password_file give a password")
	}
	if u.Username != "" && a.Username != "" {
		l.Add(path+"username", "remove it from the URL", "both the URL and username give a user")
	}
	if a.TLS != (TLS{}) && u.TLSConfig == nil {
		l.Add(path+"tls", "write rediss:// in the URL", "the URL's scheme is one without TLS")
	}
}

const minCacheBytes = 1 << 20

// MaskedURL is the URL with its password masked, for people and logs.
func (o *Options) MaskedURL() string { return mask.URL(o.URL) }

var schemes = []string{"redis", "rediss", "unix", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel"}

const mendURL = "write it like redis://localhost:6379/0, rediss://, unix:///path, redis+cluster://a:1,b:2 or redis+sentinel://a:1,b:2/master"

// validateURL finds the usual mistakes in a URL, or else what [parseURL] says of it.
func validateURL(l *problem.List, path, url string) {
	for part := range strings.SplitSeq(url, ",") {
		scheme, rest, ok := strings.Cut(strings.TrimSpace(part), "://")
		switch {
		case !ok && part == url:
			l.Add(path, mendURL, "the URL of Redis has no scheme")
			return
		case !ok: // a further host of a cluster or sentinel URL
			continue
		case !slices.Contains(schemes, scheme):
			l.Add(path, suggest.DidYouMean(scheme, "schemes", schemes), "the URL of Redis has the scheme %s", problem.Quote(scheme))
			return
		case rest == "":
			l.Add(path, mendURL, "the URL of Redis names no server")
			return
		}
	}
	_, err := parseURL(url)
	var p problem.Problem
	switch {
	case errors.As(err, &p):
		l.Add(path, p.Mend, "%s", p.Message)
	case err != nil:
		l.Add(path, mendURL, "the URL of Redis can't be used: %v", err)
	}
}

// readURL reads the file that holds the URL, where that is how it is given.
func (o *Options) readURL() error {
	switch {
	case o.URL == "" && o.URLFile != "":
		text, err := filestate.Read(o.URLFile)
		if err != nil {
			return fmt.Errorf("redis: url_file: %w", err)
		}
		o.URL = strings.TrimRight(string(text), "\r\n")
	case o.URL == "":
		return errors.New("redis: the URL is empty; give one such as redis://localhost:6379")
	}
	return nil
}
