package store

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/headgate/headgate/middleware/problem"
	"github.com/redis/go-redis/v9"
)

// parseURL turns Options.URL into the options of a go-redis UniversalClient.
//
// What go-redis understands itself (redis, rediss, unix, and their query
// parameters) is left to redis.ParseURL; Cluster and Sentinel URLs are brought
// into that form first, with the first of their addresses standing for all.
func parseURL(raw string) (*redis.UniversalOptions, error) {
	o, err := parseAny(raw)
	if err != nil {
		return nil, err
	}
	return o, validPorts(o)
}

func parseAny(raw string) (*redis.UniversalOptions, error) {
	if raw == "" {
		return nil, errors.New("the URL is empty; give one such as redis://localhost:6379")
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return nil, errors.New("the URL has no scheme; write redis://HOST:PORT")
	}

	if _, query, ok := strings.Cut(rest, "?"); ok {
		if params, err := url.ParseQuery(query); err == nil && params.Has("max_retries") {
			return nil, errors.New("max_retries has no effect here, since a request waits for one attempt; leave it out")
		}
	}

	switch scheme {
	case "redis", "rediss", "unix":
		if strings.Contains(rest, ","+scheme+"://") {
			one, err := oneUser(strings.Split(rest, ","+scheme+"://"))
			if err != nil {
				return nil, err
			}
			return parseMany(scheme, one, "cluster")
		}
		if _, hosts := userinfo(authority(rest)); scheme != "unix" && strings.Contains(hosts, ",") {
			return parseMany(scheme, rest, "cluster")
		}
		single, err := redis.ParseURL(raw)
		if err != nil {
			return nil, withoutSecrets(err)
		}
		return universal(single, []string{single.Addr}), nil
	case "redis+cluster", "rediss+cluster":
		return parseMany(strings.TrimSuffix(scheme, "+cluster"), rest, "cluster")
	case "redis+sentinel", "rediss+sentinel":
		return parseMany(strings.TrimSuffix(scheme, "+sentinel"), rest, "sentinel")
	}
	return nil, fmt.Errorf("the scheme %q is not known; use redis, rediss, unix, redis+cluster, rediss+cluster, redis+sentinel or rediss+sentinel", scheme)
}

// parseMany parses what follows the scheme of a URL with several addresses:
// [user:password@]host:port,host:port[/master][?options].
func parseMany(scheme, rest, kind string) (*redis.UniversalOptions, error) {
	auth := authority(rest)
	tail := rest[len(auth):]
	user, hosts := userinfo(auth)
	addrs := strings.Split(hosts, ",")
	for i, a := range addrs {
		addrs[i] = strings.TrimSpace(a)
		if addrs[i] == "" {
			return nil, errors.New("an address in the list is empty; write HOST:PORT,HOST:PORT")
		}
	}

	path, query, _ := strings.Cut(tail, "?")
	params, err := url.ParseQuery(query)
	if err != nil {
		return nil, fmt.Errorf("the query string cannot be read: %w", err)
	}
	sentinelUser, sentinelPassword := params.Get("sentinel_username"), params.Get("sentinel_password")
	params.Del("sentinel_username")
	params.Del("sentinel_password")

	master := ""
	if kind == "sentinel" {
		if master = strings.Trim(path, "/"); master == "" {
			return nil, problem.New("", "add it: redis+sentinel://a:26379,b:26379/mymaster", "the URL of Redis does not name the master")
		}
		path = ""
	}

	first := scheme + "://" + user + addrs[0] + path
	if len(params) > 0 {
		first += "?" + params.Encode()
	}
	single, err := redis.ParseURL(first)
	if err != nil {
		return nil, withoutSecrets(err)
	}
	addrs[0] = single.Addr // with the default port, where none was given
	for i := range addrs[1:] {
		if addrs[i+1], err = withPort(addrs[i+1]); err != nil {
			return nil, err
		}
	}
	o := universal(single, addrs)
	if o.MasterName = master; master != "" && o.TLSConfig != nil {
		// The name of the first Sentinel is not that of the others, nor that of
		// the master: let each be verified by its own.
		o.TLSConfig.ServerName = ""
	}
	o.SentinelUsername, o.SentinelPassword = sentinelUser, sentinelPassword
	o.IsClusterMode = kind == "cluster"
	if o.IsClusterMode && o.DB != 0 {
		return nil, fmt.Errorf("a Cluster has database 0 alone, not %d; leave the path of the URL empty", o.DB)
	}
	return o, nil
}

// oneUser joins what follows the schemes of several URLs into one list of
// addresses with the user that they have in common. A URL without one has that of the others.
func oneUser(urls []string) (string, error) {
	common := ""
	for i, u := range urls {
		user, _ := userinfo(authority(u))
		switch {
		case user == "" || user == common:
		case common == "":
			common = user
		default:
			return "", errors.New("the users or passwords of the URLs differ; a Cluster has the same on every node")
		}
		urls[i] = u[len(user):]
	}
	return common + strings.Join(urls, ","), nil
}

// userinfo splits an authority behind the @, if it has one.
func userinfo(authority string) (user, hosts string) {
	at := strings.LastIndexByte(authority, '@') + 1
	return authority[:at], authority[at:]
}

// universal copies what a URL can say from a single server's options.
func universal(o *redis.Options, addrs []string) *redis.UniversalOptions {
	u := &redis.UniversalOptions{
		Addrs:                    addrs,
		ClientName:               o.ClientName,
		DB:                       o.DB,
		Protocol:                 o.Protocol,
		MinRetryBackoff:          o.MinRetryBackoff,
		MaxRetryBackoff:          o.MaxRetryBackoff,
		Username:                 o.Username,
		Password:                 o.Password,
		TLSConfig:                o.TLSConfig,
		PoolFIFO:                 o.PoolFIFO,
		PoolSize:                 o.PoolSize,
		PoolTimeout:              o.PoolTimeout,
		MinIdleConns:             o.MinIdleConns,
		MaxIdleConns:             o.MaxIdleConns,
		MaxActiveConns:           o.MaxActiveConns,
		PipelinePoolSize:         o.PipelinePoolSize,
		PipelineReadBufferSize:   o.PipelineReadBufferSize,
		PipelineWriteBufferSize:  o.PipelineWriteBufferSize,
		MaxConcurrentDials:       o.MaxConcurrentDials,
		ConnMaxIdleTime:          o.ConnMaxIdleTime,
		ConnMaxLifetime:          o.ConnMaxLifetime,
		ConnMaxLifetimeJitter:    o.ConnMaxLifetimeJitter,
		DialTimeout:              o.DialTimeout,
		ReadTimeout:              o.ReadTimeout,
		WriteTimeout:             o.WriteTimeout,
		MaintNotificationsConfig: o.MaintNotificationsConfig,
	}
	return u
}

// authority returns the part of rest before the path or the query.
func authority(rest string) string {
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		return rest[:i]
	}
	return rest
}

// withPort adds Redis' port to a host that names none.
func withPort(addr string) (string, error) {
	o, err := redis.ParseURL("redis://" + addr)
	if err != nil {
		return "", fmt.Errorf("the address %q cannot be read; write HOST:PORT", addr)
	}
	return o.Addr, nil
}

// withoutSecrets replaces what net/url says of a URL: even the reason holds parts of the password.
func withoutSecrets(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return problem.New("", "write HOST:PORT, and escape what is special in a password: %40 for @, %2F for /, %3A for :, %23 for #, %3F for ?, %25 for %", "the URL of Redis can't be read")
	}
	return err
}

// validPorts reports the first address whose port is none.
func validPorts(o *redis.UniversalOptions) error {
	for _, addr := range o.Addrs {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			continue // a unix socket
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return problem.New("", "use a port from 1 to 65535", "the URL of Redis has the port %s", problem.Quote(port))
		}
	}
	return nil
}
