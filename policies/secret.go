package policies

import (
	"strings"
)

// minSecretBytes is what a secret that signs must have: as many bytes as SHA-256 gives.
const minSecretBytes = 32

// readSecrets reads the secrets that are given as files.
func (l *loader) readSecrets() {
	p := l.policy
	if l.eitherOr("server.admin.token") {
		p.Server.Admin.Token = Secret(l.readSecret(p.Server.Admin.TokenFile, "server.admin.token_file"))
	}
	if l.eitherOr("redis.url") {
		p.Redis.URL = RedisURL(l.readSecret(p.Redis.URLFile, "redis.url_file"))
	}
	if l.eitherOr("session.secrets") {
		for i, file := range p.Session.SecretsFile {
			p.Session.Secrets = append(p.Session.Secrets, Secret(l.readSecret(file, item("session.secrets_file", i))))
		}
	}
}

// eitherOr reports whether x_file is given, and complains where x is as well.
func (l *loader) eitherOr(path string) bool {
	file := path + "_file"
	if !l.source.has(file) {
		return false
	}
	if l.source.has(path) {
		name := path[strings.LastIndexByte(path, '.')+1:]
		l.report.errorf(l.source.keyAt(file), "keep one of them", "both %s and %s_file are given", name, name)
		return false
	}
	return true
}

// readSecret reads a file that holds one secret. The line break that editors end a file with is not part of it.
func (l *loader) readSecret(path FilePath, where string) string {
	at := l.source.at(where)
	if path == "" {
		return "" // its decoding failed, and was reported
	}
	data, err := l.ReadFile(string(path))
	if err != nil {
		l.report.errorf(at, "check its name and permissions; a relative path starts at the policy file", "can't read the secret: %v", err)
		return ""
	}
	l.source.reads = append(l.source.reads, string(path))
	secret := strings.TrimRight(string(data), "\r\n")
	if secret == "" {
		l.report.errorf(at, "write the secret into it", "the file %s is empty", quote(string(path)))
	}
	return secret
}
