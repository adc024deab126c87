package policies

import (
	"strings"

	"github.com/headgate/headgate/middleware/problem"
	"github.com/headgate/headgate/middleware/proxy"
)

// readSecrets reads the secrets that are given as files.
func (l *loader) readSecrets() {
	p := l.policy
	if l.eitherOr("server.admin.token") {
		p.Server.Admin.Token = l.readSecret(p.Server.Admin.TokenFile, "server.admin.token_file")
	}
	if l.eitherOr("redis.url") {
		p.Redis.URL = l.readSecret(p.Redis.URLFile, "redis.url_file")
	}
	if l.eitherOr("redis.sessions.url") {
		p.Redis.Sessions.URL = l.readSecret(p.Redis.Sessions.URLFile, "redis.sessions.url_file")
	}
	if l.eitherOr("redis.cache.url") {
		p.Redis.Cache.URL = l.readSecret(p.Redis.Cache.URLFile, "redis.cache.url_file")
	}
	if l.eitherOr("redis.jobs.url") {
		p.Redis.Jobs.URL = l.readSecret(p.Redis.Jobs.URLFile, "redis.jobs.url_file")
	}
	if l.eitherOr("jobs.token") {
		p.Jobs.Token = l.readSecret(p.Jobs.TokenFile, "jobs.token_file")
	}
	if l.eitherOr("session.secrets") {
		for i, file := range p.Session.SecretsFile {
			p.Session.Secrets = append(p.Session.Secrets, []byte(l.readSecret(file, problem.Item("session.secrets_file", i))))
		}
	}
}

// shareSecrets gives the secrets to what else they sign.
func (l *loader) shareSecrets() {
	for _, u := range l.policy.Upstreams {
		if u.Balance == proxy.Cookie {
			u.Cookie.Secrets = l.policy.Session.Secrets
		}
	}
}

// eitherOr reports whether x_file is given, and complains where x is as well.
func (l *loader) eitherOr(path string) bool {
	file := path + "_file"
	if !l.source.Has(file) {
		return false
	}
	if l.source.Has(path) {
		name := path[strings.LastIndexByte(path, '.')+1:]
		l.report.Errorf(l.source.KeyAt(file), "keep one of them", "both %s and %s_file are given", name, name)
		return false
	}
	return true
}

// readSecret reads a file that holds one secret. The line break that editors end a file with is not part of it.
func (l *loader) readSecret(path, where string) string {
	at := l.source.At(where)
	if path == "" {
		return "" // its decoding failed, and was reported
	}
	data, err := l.ReadFile(path)
	if err != nil {
		l.report.Errorf(at, "check its name and permissions; a relative path starts at the policy file", "can't read the secret: %v", err)
		l.source.Break(where)
		return ""
	}
	l.policy.reads = append(l.policy.reads, path)
	secret := strings.TrimRight(string(data), "\r\n")
	if secret == "" {
		l.report.Errorf(at, "write the secret into it", "the file %s is empty", quote(path))
		l.source.Break(where)
	}
	return secret
}
