package server_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/headgate/headgate/internal/yamlnode"
	"github.com/headgate/headgate/middleware/ratelimit"
	"github.com/headgate/headgate/policies"
)

// policyWriter writes policies with every key that the types of a policy have, as far as pick wants them.
type policyWriter struct {
	t fataler
	// pick chooses the value of the key at a path, or leaves the key out. The first of values is as it should be.
	// What a policy can't do without is there in any case.
	pick    func(path string, values []string) (value string, written bool)
	without []string // paths of keys that are not written
	limits  int      // limits besides the one that pick has a say in
}

type fataler interface {
	Fatalf(format string, args ...any)
}

func (w policyWriter) policy() string {
	var b strings.Builder
	for _, f := range yamlnode.Fields(reflect.TypeFor[policies.Policy]()) {
		if value := w.value(reflect.TypeFor[policies.Policy](), f, f.Name); value != "" {
			b.WriteString(f.Name + ": " + value + "\n")
		}
	}
	return b.String()
}

// always are keys without which nothing starts, or two tests would listen on one port.
var always = []string{
	"policies.Policy.version", "policies.Policy.server", "policies.Policy.upstreams", "policies.Policy.clients", "policies.Policy.limits",
	"policies.Policy.caches", "policies.Policy.queues", "policies.Policy.session", "policies.Policy.groups", "policies.Policy.routes", "policies.Server.listen", "policies.Server.admin",
	"policies.Admin.listen", "session.Settings.secrets",
}

// instead lists keys of which a section has one at most: a key is left out where one of those is written.
var instead = map[string][]string{
	"policies.Admin.token_file":     {"token"},
	"store.Options.url_file":        {"url"},
	"store.Separate.url_file":       {"url"},
	"session.Settings.secrets_file": {"secrets"},
	"ratelimit.Limit.concurrent":    {"requests", "window"},
	"policies.Settings.rewrite":     {"strip_prefix"},
	"cache.Rule.query":              {"ignore_query"},
	"policies.Route.redirect":       {"upstream"},
	"policies.Route.respond":        {"upstream", "redirect"},
	"policies.Settings.cache":       {"respond", "redirect"},
	"policies.Settings.queue":       {"respond", "redirect"},
	"policies.Jobs.token_file":      {"token"},
}

// needs lists keys that go with others.
var needs = map[string]string{
	"store.Options.sessions":     "url",
	"store.Options.cache":        "url",
	"store.Options.jobs":         "url",
	"store.Access.username":      "url",
	"store.Access.password_file": "url",
	"store.Access.tls":           "url",
	"store.TLS.cert_file":        "key_file",
	"store.TLS.key_file":         "cert_file",
	"proxy.Config.cookie":        "balance",
	"proxy.TLS.cert_file":        "key_file",
	"proxy.TLS.key_file":         "cert_file",
	"proxy.Retry.try_timeout":    "on",
	"ratelimit.Limit.burst":      "algorithm",
}

// section writes the keys of a struct.
func (w policyWriter) section(t reflect.Type, path string) string {
	fields := yamlnode.Fields(t)
	written := map[string]string{}
	byChoice := slices.Clone(fields)
	slices.SortStableFunc(byChoice, func(a, b yamlnode.Field) int { return len(instead[keyName(t, a)]) - len(instead[keyName(t, b)]) })
	for _, f := range byChoice {
		name := keyName(t, f)
		if slices.ContainsFunc(instead[name], func(other string) bool { return written[other] != "" }) {
			continue
		}
		if value := w.value(t, f, path+"."+f.Name); value != "" {
			written[f.Name] = value
		}
	}
	for _, f := range fields {
		other := needs[keyName(t, f)]
		excluded := func(by yamlnode.Field) bool {
			return written[by.Name] != "" && slices.Contains(instead[keyName(t, by)], other)
		}
		if written[f.Name] == "" || other == "" || written[other] != "" || slices.ContainsFunc(fields, excluded) {
			continue
		}
		at := slices.IndexFunc(fields, func(f yamlnode.Field) bool { return f.Name == other })
		written[other] = checkedValues[keyName(t, fields[at])][0]
	}
	if t == reflect.TypeFor[policies.Route]() && written["upstream"] == "" && written["redirect"] == "" && written["respond"] == "" {
		written["upstream"] = "app"
	}
	var keys []string
	for _, f := range fields {
		if value := written[f.Name]; value != "" {
			keys = append(keys, f.Name+": "+value)
		}
	}
	return "{" + strings.Join(keys, ", ") + "}"
}

// value writes the value of a key, or "" where it is left out.
func (w policyWriter) value(t reflect.Type, f yamlnode.Field, path string) string {
	if slices.Contains(w.without, path) {
		return ""
	}
	values, inner := checkedValues[keyName(t, f)], sectionOf(f.Type)
	if inner == nil && len(values) == 0 {
		w.t.Fatalf("no test writes the key %s; give it values in checkedValues", keyName(t, f))
	}
	if inner != nil {
		values = append([]string{""}, values...)
	}
	value, written := w.pick(path, values)
	if !written {
		if f.Required == "" && !slices.Contains(always, keyName(t, f)) {
			return ""
		}
		value = values[0]
	}
	if value != "" {
		return value
	}
	switch {
	case f.Type.Kind() == reflect.Map:
		return "{" + nameIn(f.Name) + ": " + w.section(inner, path) + w.more(f.Name) + "}"
	case f.Type.Kind() == reflect.Slice:
		return "[" + w.section(inner, path) + "]"
	}
	return w.section(inner, path)
}

// nameIn is the name of the one that a section by name has.
func nameIn(section string) string {
	return map[string]string{"upstreams": "app", "clients": "acme", "limits": "some", "caches": "pages", "groups": "few", "queues": "images", "schedules": "nightly"}[section]
}

// more are the further limits.
func (w policyWriter) more(section string) string {
	var b strings.Builder
	for i := range w.limits {
		if section == "limits" {
			fmt.Fprintf(&b, ", l%d: {requests: 1, window: 1m}", i)
		}
	}
	return b.String()
}

// manyLimits names n limits.
func manyLimits(n int) string {
	names := []string{"some"}
	for i := range n - 1 {
		names = append(names, fmt.Sprintf("l%d", i))
	}
	return "[" + strings.Join(names, ", ") + "]"
}

// keyName is what checkedValues calls a key: by the struct that has it, and by itself.
func keyName(t reflect.Type, f yamlnode.Field) string {
	if len(f.Index) > 1 {
		t = t.Field(f.Index[0]).Type
	}
	return t.String() + "." + f.Name
}

// sectionOf is the struct that a key's value has: itself, by name, or in a list; nil where it has none.
func sectionOf(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Map || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if !yamlnode.Section(t) {
		return nil
	}
	return t
}

// policyKey is a place where a policy may have a key.
type policyKey struct {
	path, key string
	name      string // in checkedValues
	required  bool
	without   []string // the paths of keys that can't be there as well
}

// policyKeys lists every key of a policy, at every place that it may have.
func policyKeys() []policyKey {
	var list []policyKey
	var add func(t reflect.Type, below string, without []string)
	add = func(t reflect.Type, below string, without []string) {
		for _, f := range yamlnode.Fields(t) {
			k := policyKey{path: below + f.Name, key: f.Name, name: keyName(t, f), required: f.Required != "", without: slices.Clone(without)}
			for _, other := range instead[k.name] {
				k.without = append(k.without, below+other)
			}
			list = append(list, k)
			if inner := sectionOf(f.Type); inner != nil {
				add(inner, k.path+".", k.without)
			}
		}
	}
	add(reflect.TypeFor[policies.Policy](), "", nil)
	return list
}

func TestEachValueOfATestIsThatOfAKey(t *testing.T) {
	t.Parallel()
	keys := policyKeys()
	for name := range checkedValues {
		if !slices.ContainsFunc(keys, func(k policyKey) bool { return k.name == name }) {
			t.Errorf("no policy has the key %s", name)
		}
	}
}

// checkedValues are what keys are written as, by [keyName]: first a value as it should be, then such as may be mistakes.
// A section's keys are written instead of the first. Values of one policy go together where they are the first ones.
var checkedValues = map[string][]string{
	"policies.Policy.version": {"1", "2", "one"},
	"policies.Policy.include": {"[]", "no-such-file-*.yaml"},
	"policies.Policy.routes":  {"[]"},

	"policies.Server.listen":                 {`"127.0.0.1:0"`, `":99999"`, `["127.0.0.1:0", "127.0.0.1:0"]`, `"127.0.0.1:0x"`},
	"policies.Server.tls":                    {"off", "on", `{cert_file: "", key_file: ""}`, `{cert_file: "${KEY}", key_file: "${CERT}"}`},
	"policies.Server.deny":                   {"192.0.2.0/24", "[192.0.2.1, 2001:db8::/32, 192.0.2.0/24, 192.0.2.1]", "10.0.0.0/33"},
	"policies.Server.purge_method":           {"{allow: 203.0.113.9}", "{allow: [10.0.0.7, ::1], direct: true}", "{allow: []}", "{allow: 0.0.0.0/0, direct: true}", "{}"},
	"policies.PurgeMethod.allow":             {"203.0.113.9", "10.0.0.7", "nowhere"},
	"policies.PurgeMethod.direct":            {"true", "1"},
	"policies.Server.trusted_proxies":        {"10.0.0.0/8", "[10.1.2.3/8, ::1]", "nowhere"},
	"policies.Server.client_ip_header":       {"forwarded", "x-real-ip", "cf-connecting-ip", "x-forwarded-fro", "X-Real-IP", `"x real ip"`, `""`},
	"policies.Server.trusted_hops":           {"1", "0", "-1", "32", "33"},
	"policies.Server.trust_forwarded":        {"[proto, host, port]", "[]", "proto", "[scheme]"},
	"policies.Server.public_scheme":          {"https", "http", "ftp"},
	"policies.Server.ipv6_prefix":            {"56", "31", "129", "0"},
	"policies.Server.protocols":              {"[http1, http2]", "[http2]", "h2c", "[http1, http1]"},
	"policies.Server.ignore_case":            {"true", "false", "yes"},
	"policies.Server.max_body":               {"1MiB", "0", "2PiB"},
	"policies.Server.max_header_bytes":       {"8KiB", "1KiB", "1GiB"},
	"policies.Server.read_header_timeout":    {"5s", "0s", "1h", "1ns"},
	"policies.Server.idle_timeout":           {"1m", "0s", "999ms"},
	"policies.Server.min_body_rate":          {"1KiB", "0", "1GiB", "2GiB"},
	"policies.Server.body_timeout":           {"1m", "0s", "1ns"},
	"policies.Server.write_timeout":          {"1m", "0s", "1ns"},
	"policies.Server.spool_dir":              {"/tmp", "/no/such/folder"},
	"policies.Server.max_connections":        {"1000", "0", "-1", "99999999"},
	"policies.Server.max_connections_per_ip": {"10", "0", "-1", "9999999"},
	"policies.Server.max_streams":            {"100", "1", "0", "-1", "9999999"},
	"policies.Server.shutdown_delay":         {"1s", "30s", "31s"},
	"policies.Server.shutdown_grace":         {"20s", "0s"},
	"policies.Server.rate_limit_headers":     {"legacy", "off", "both"},
	"policies.Server.access_log":             {"stdout", "off", "no/such/folder/access.log"},
	"policies.AccessLog.path":                {"stdout", "off", "no/such/folder/access.log"},
	"policies.AccessLog.mask":                {"[password, token]", `[""]`},
	"policies.AccessLog.format":              {"json", "combined", "xml"},
	"policies.AccessLogFields.add":           {"[header:X-Tenant, trace_id]", "span_id", "[header:Cookie]", "[host]", "[trace_id, trace_id]"},
	"policies.AccessLogFields.drop":          {"[user_agent, referer]", "[time]"},
	"policies.Log.level":                     {"warn", "debug", "loud"},
	"policies.Log.format":                    {"json", "text", "xml"},
	"policies.Admin.listen":                  {`"127.0.0.1:0"`, "off", `":0"`},
	"policies.Admin.token":                   {"x"},
	"policies.Admin.token_file":              {`"${SECRET}"`, "no-such-file"},
	"policies.ServerTLS.cert_file":           {`"${CERT}"`, "no-such-file.pem"},
	"policies.ServerTLS.key_file":            {`"${KEY}"`, "no-such-file.pem"},
	"policies.Memory.buffers":                {"64MiB", "0"},
	"policies.Memory.cache":                  {"64MiB", "0", "1KiB", "1MiB"},
	"policies.Memory.counters":               {"64MiB", "0", "1KiB", "1MiB"},

	"store.Options.url":           {`"${REDIS_URL}"`, "redis://h/abc", "http://h", "redis+sentinel://a:1/", "redis+sentinel://127.0.0.1:1/m", "redis://u:p@127.0.0.1:1"},
	"store.Options.url_file":      {`"${REDIS}"`, "no-such-file"},
	"store.Options.timeout":       {"100ms", "0s", "2m"},
	"store.Options.write_timeout": {"1s", "0s", "2m", "1ms"},
	"store.Options.wait_replicas": {"0", "16", "-1", "17"},
	"store.Options.key_prefix":    {`"shop:"`, `"{x}"`, `"a*"`},

	"store.Options.cache_bytes":  {"64MiB", "0", "1KiB"},
	"store.Options.sessions":     {"off", "on", "{username: x}"},
	"store.Options.cache":        {"off", "on", "{url: nowhere}"},
	"store.Options.jobs":         {"off", "on", "{url: nowhere}"},
	"store.Separate.url":         {`"${REDIS_URL}"`, "redis://127.0.0.1:1"},
	"store.Separate.url_file":    {`"${REDIS}"`, "no-such-file"},
	"store.Access.username":      {"gate"},
	"store.Access.password_file": {`"${SECRET}"`, "no-such-file"},
	"store.Access.tls":           {"off", "on"},
	"store.TLS.ca_file":          {`"${CERT}"`, "/dev/null"},
	"store.TLS.cert_file":        {`"${CERT}"`, "no-such-file"},
	"store.TLS.key_file":         {`"${KEY}"`, "no-such-file"},
	"store.TLS.server_name":      {"h"},

	"session.Settings.secrets":            {`"0123456789abcdef0123456789abcdef"`, "short", `["", x]`},
	"session.Settings.secrets_file":       {`"${SECRET}"`, "no-such-file"},
	"session.Settings.idle_timeout":       {"1m", "0s", "1ns", "13h"},
	"session.Settings.absolute_timeout":   {"1d", "1m", "0s", "1ns"},
	"session.Settings.remember":           {"30d", "1h", "0s", "500d"},
	"session.Settings.rotate_every":       {"10m", "0s", "1s"},
	"session.Settings.max_per_user":       {"3", "0", "1001"},
	"session.Settings.login_path":         {"/in", "//x", `"/a?b=c"`, `"/é"`, `"/%zz"`, `"/a#b"`, `"/../x"`},
	"session.Settings.csrf":               {"off", "on"},
	"session.Settings.assertion":          {"off", "on", "{audience: x, ttl: 0s}"},
	"session.CookieOptions.name":          {"sid", "__Host-sid", "__secure-sid", `"a b"`, `"é"`},
	"session.CookieOptions.same_site":     {"strict", "none", "loose"},
	"session.CookieOptions.secure":        {"true", "false"},
	"session.CookieOptions.partitioned":   {"true", "false"},
	"session.CookieOptions.domain":        {"example.com", ".example.com", "com", `"a..b"`, "1.2.3.4", `"[::1]"`, "EXAMPLE.com"},
	"session.CookieOptions.path":          {"/app", `"/a;b"`, `"/é"`, "app", `"/a\tb"`, `"/a b"`},
	"session.CSRFOptions.trusted_origins": {"[https://a.example]", `["https://a.example:99999", "ftp://x", "https://*.a.example", "null", "https://é.example"]`, `["*"]`, `["https://*.com"]`, `["https://*.a.example"]`},
	"session.AssertionOptions.key_file":   {`"${SIGNER}"`, "no-such-file.pem", `"${CERT}"`},
	"session.AssertionOptions.audience":   {"app"},
	"session.AssertionOptions.ttl":        {"1m", "0s", "2h"},

	"proxy.Config.servers": {`["http://127.0.0.1:9"]`, `["http://LOCALHOST:9", "http://localhost:9/"]`, `["https://a", {url: "https://b", weight: 2}]`, `["http://h:99999"]`, `["http://h:0"]`,
		`["http://[::1]:9"]`, `["http://[::1%25eth0]:9"]`, `["HTTP://h"]`, `["http://a b"]`, `["http://h?"]`, `["http://h#"]`, `["http://h", "http://h:80"]`, `[{url: "http://h", weight: 0}]`,
		`["http://h", {url: "http://i", backup: true}]`, `[{url: "http://h", backup: true}]`, `["http://é"]`, `["http://h:"]`, `["http://h", "http://h:"]`,
		`["unix:/run/a.sock"]`, `["unix:/run/a.sock", "http://h"]`, `["unix:a.sock"]`, `["unix:/a", "unix:///./a"]`, `["unix://h/a"]`, `["unix:/"]`},
	"proxy.Config.balance":              {"cookie", "p2c", "ip_hash", "fair"},
	"proxy.Config.health_check":         {"off", "on"},
	"proxy.Config.ejection":             {"off", "on"},
	"proxy.Config.waiting":              {"off", "on"},
	"proxy.Config.slow_start":           {"10s", "0s"},
	"proxy.Config.max_connections":      {"10", "0", "-1"},
	"proxy.Config.connect_timeout":      {"1s", "0s"},
	"proxy.Config.timeout":              {"5s", "0s"},
	"proxy.Config.read_timeout":         {"5s", "0s", "-1s"},
	"proxy.Config.idle_timeout":         {"5s", "0s", "-1s"},
	"proxy.Config.max_age":              {"5m", "0s", "-1s"},
	"proxy.Config.tcp_keepalive":        {"1m", "off", "0s", "1ns", "10h"},
	"proxy.Config.retries":              {"2", "0", "11", "-1"},
	"proxy.Config.retry_budget":         {"0.5", "0", "1", "1.1", "-0.5"},
	"proxy.Config.protocol":             {"auto", "http1", "h2c", "http2", "http3"},
	"proxy.Config.tls":                  {"off", "on", "{cert_file: a.pem}"},
	"proxy.AffinityCookie.name":         {"server", "session", `"a b"`},
	"proxy.Server.url":                  {`"http://127.0.0.1:9"`, "127.0.0.1:9"},
	"proxy.Server.weight":               {"2", "0", "-1", "1001"},
	"proxy.Server.backup":               {"false", "true"},
	"proxy.Server.resolve":              {"5s", "off", "0s", "1ms"},
	"proxy.HealthCheck.path":            {"/up", "up", "//up", `"/é"`, `"/a?b"`, `"/%zz"`, `"/a#b"`, `"/a b"`},
	"proxy.HealthCheck.interval":        {"1s", "0s", "100ms", "50ms"},
	"proxy.HealthCheck.timeout":         {"100ms", "0s", "2s"},
	"proxy.HealthCheck.healthy_after":   {"1", "0", "101"},
	"proxy.HealthCheck.unhealthy_after": {"1", "0", "101"},
	"proxy.HealthCheck.expect":          {"204", "0", "99"},
	"proxy.HealthCheck.host":            {"shop.example", `"a b"`, "http://x", `"shop:99999"`},
	"proxy.HealthCheck.headers":         {"{X-A: b}", "{Host: x}", `{"a b": c}`, "{Connection: close}", `{X-A: "a\nb"}`},
	"proxy.HealthCheck.port":            {"8081", "0", "-1", "65536"},
	"proxy.Ejection.failures":           {"1000", "0"},
	"proxy.Ejection.for":                {"1m", "0s", "1ns", "3660d"},
	"proxy.Waiting.requests":            {"5", "0", "1048577"},
	"proxy.Waiting.timeout":             {"1s", "0s"},
	"proxy.Retry.on":                    {"[connect, timeout, 503]", "[connect, 429, 503]", "timeout", "[404]", "[503, 503]"},
	"proxy.Retry.try_timeout":           {"1s", "0s", "1h"},
	"proxy.Retry.idempotency_key":       {"true", "false"},
	"proxy.Buffer.requests":             {"64KiB", "0", "1TiB"},
	"proxy.Buffer.answers":              {"64KiB", "0", "1TiB"},
	"proxy.Buffer.spool":                {"1MiB", "0", "1KiB"},
	"proxy.TLS.ca_file":                 {`"${CERT}"`, "no-such-file.pem", `"${KEY}"`},
	"proxy.TLS.server_name":             {"x", "é"},
	"proxy.TLS.insecure_skip_verify":    {"false", "true"},
	"proxy.TLS.cert_file":               {`"${CERT}"`, "no-such-file.pem"},
	"proxy.TLS.key_file":                {`"${KEY}"`, "no-such-file.pem"},

	"policies.Client.key_sha256": {"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "short"},
	"policies.Client.plan":       {"gold", "user", "tin"},

	"ratelimit.Limit.algorithm":      {"token_bucket", "fixed_window", "sliding_window", "sliding_log", "leaky"},
	"ratelimit.Limit.key":            {"ip", "[ip, route]", "header:X-A", `"header:a b"`, "[ip, ip]", "'cookie:'", "nobody", "host", "param:id", "'param:'", "query:q", `"query:a b"`, "[ip, query:q]", "account", "[account, ip]", "[account, header:X-A]"},
	"ratelimit.Limit.requests":       {"10", "1", "0", "-1", "50000", "60000", "1000000000", "1000000001"},
	"ratelimit.Limit.window":         {"1m", "1s", "366d", "367d", "1000000001ns", "999ms", "1500ms"},
	"ratelimit.Limit.concurrent":     {"5", "0", "-1", "100001"},
	"ratelimit.Limit.burst":          {"60", "0", "1000", "1000000000"},
	"ratelimit.Limit.plans":          {"{gold: 20}", "{user: 20}", "{gold: 0}", "{gold: 60000}", "{gold: 1000000000}"},
	"ratelimit.Limit.count":          {"failed", "all", "[401]", "[42]", "some"},
	"ratelimit.Limit.cost":           {"1", "2", "0", "60"},
	"ratelimit.Limit.dry_run":        {"true", "false"},
	"ratelimit.Limit.on_redis_error": {"open", "closed", "panic"},
	"ratelimit.Limit.allow":          {"[192.0.2.0/24]", "0.0.0.0/0"},
	"ratelimit.Limit.ban":            {"off", "on", "{for: 1m}"},
	"ratelimit.Ban.after":            {"3", "0", "1000001"},
	"ratelimit.Ban.for":              {"1m", "500ms", "400d", "0s"},

	"cache.Rule.ttl":                    {"1m", "0s"},
	"cache.Rule.force_ttl":              {"0s", "1m"},
	"cache.Rule.stale_while_revalidate": {"1m", "0s", "-1s"},
	"cache.Rule.stale_if_error":         {"1m", "0s", "-1s"},
	"cache.Rule.lock_timeout":           {"5s", "0s", "-1s"},
	"cache.Rule.tags":                   {"[a]", `["a,b"]`, "é"},
	"cache.Rule.ignore_query":           {`["utm_*"]`, `["*a*"]`},
	"cache.Rule.query":                  {"[id]", `["*x"]`},
	"cache.Rule.ignore_cookies":         {`["_ga*"]`, `["*"]`},
	"cache.Rule.key_headers":            {"[X-A]", "[Cookie]", `["a b"]`},
	"cache.Rule.heuristic":              {"true", "false"},
	"cache.Rule.max_body":               {"1KiB", "0"},
	"cache.Rule.query_max":              {"1KiB", "0"},
	"cache.Rule.errors":                 {"{404: 1s}", "{200: 1s}", "{404: 0s}"},

	"jobs.Queue.concurrency":   {"8", "0", "-1", "10001"},
	"jobs.Queue.retries":       {"10", "0", "-1", "10001"},
	"jobs.Queue.timeout":       {"5m", "0s", "1ns", "500d"},
	"jobs.Queue.keep":          {"1d", "0s", "1ms", "500d"},
	"jobs.Queue.max_age":       {"1d", "0s", "1m", "500d"},
	"jobs.Queue.max_body":      {"1MiB", "0", "1GiB"},
	"jobs.Queue.max_bytes":     {"256MiB", "0", "1KiB"},
	"jobs.Backoff.first":       {"2s", "0s", "1ns", "1h"},
	"jobs.Backoff.most":        {"10m", "0s", "1s"},
	"jobs.Schedule.cron":       {`"0 3 * * *"`, `"* * * *"`, `"61 * * * *"`, `"0 0 31 2 *"`, `"@every 1ms"`, `"@hourly"`, `"TZ=UTC 0 3 * * *"`},
	"jobs.Schedule.timezone":   {"Europe/Berlin", "Local", "Mars/Olympus"},
	"jobs.Schedule.queue":      {"images", "ghost"},
	"jobs.Schedule.method":     {"POST", `"P T"`},
	"jobs.Schedule.url":        {`"/tasks/nightly?x=1"`, "tasks", "//x", `"/a b"`},
	"jobs.Schedule.upstream":   {"app", "ghost"},
	"jobs.Schedule.headers":    {"{X-A: b}", "{Cookie: x}", `{"a b": c}`, `{X-A: "a\nb"}`, "{Headgate-User: x}"},
	"jobs.Schedule.body":       {"x"},
	"jobs.Schedule.missed":     {"skip", "catch_up", "all"},
	"jobs.Schedule.overlap":    {"true", "false"},
	"policies.Jobs.path":       {"/.jobs", "jobs", "/", "/a/", "/a/../b", `"/:id"`, `"/*"`, "/%zz", "/a"},
	"policies.Jobs.token":      {"x"},
	"policies.Jobs.token_file": {`"${SECRET}"`, "no-such-file"},
	"policies.Jobs.work":       {"on", "off", "maybe"},
	"policies.Jobs.listen":     {`"127.0.0.1:0"`, `":0"`, "nowhere"},
	"policies.RouteQueue.name": {"images", "ghost", "off"},
	"policies.RouteQueue.when": {"asked", "always", "never"},

	"policies.Settings.queue":           {"images", "off", "ghost", "{name: images, when: asked}"},
	"policies.Settings.host":            {"example.com", `"*.example.com"`, `"a:80"`, "EXAMPLE.com"},
	"policies.Settings.upstream":        {"app", "ghost"},
	"policies.Settings.limits":          {"some", "off", "[some, some]", "[off]", "ghost", manyLimits(ratelimit.MaxLimits), manyLimits(ratelimit.MaxLimits + 1)},
	"policies.Settings.cache":           {"pages", "off", "ghost"},
	"policies.Settings.session":         {"optional", "required", "login", "logout", "none"},
	"policies.Settings.csrf":            {"on", "off"},
	"policies.Settings.client":          {"required", "optional", "maybe"},
	"policies.Settings.timeout":         {"1s", "0s"},
	"policies.Settings.read_timeout":    {"1s", "0s"},
	"policies.Settings.buffer":          {"off", "on"},
	"policies.Settings.max_body":        {"1KiB", "0"},
	"policies.Settings.ignore_case":     {"true", "false"},
	"policies.Settings.encoded_slashes": {"keep", "refuse", "drop"},
	"policies.Settings.strip_prefix":    {"/one", "/two", `"/é"`},
	"policies.Settings.rewrite":         {"/x", `"/{host}{path}"`, `"/{uri}"`, `"/:id"`, "x", "/x?y"},
	"policies.Settings.preserve_host":   {"false", "true"},
	"policies.Settings.compress":        {"on", "off", "{types: text/html}"},
	"compress.Compression.types":        {"[text/*, +json, text/event-stream]", "text/html", "[]", "text", "'*/*'", "off"},
	"compress.Compression.min":          {"1KiB", "0", "-1", "1"},
	"compress.Compression.private":      {"true", "false", "on"},
	"policies.Settings.cors":            {"off", "on", "{allow_credentials: true, allow_origins: '*'}"},
	"policies.Settings.maintenance":     {"off", "on", "{retry_after: 0s}"},
	"policies.HeaderRules.set":          {"{X-A: b}", `{X-A: "{client_ip}"}`, `{X-A: "{ghost}"}`, "{Host: x}", `{X-A: "a\nb"}`},
	"policies.HeaderRules.add":          {"{X-B: b}", `{"a b": c}`},
	"policies.HeaderRules.remove":       {"[X-C]", "[Connection]"},
	"policies.CORS.allow_origins":       {"[https://*.a.example]", `["https://a.example:99999"]`, `"*"`},
	"policies.CORS.allow_methods":       {"[GET]", "[get]"},
	"policies.CORS.allow_headers":       {"[X-A]", `["a b"]`},
	"policies.CORS.expose_headers":      {"[X-A]", `["a b"]`},
	"policies.CORS.allow_credentials":   {"true", "false"},
	"policies.CORS.max_age":             {"1m", "0s"},
	"policies.Maintenance.allow":        {"[192.0.2.0/24]", "nowhere"},
	"policies.Maintenance.retry_after":  {"1m", "0s"},
	"policies.Maintenance.body":         {"later"},

	"policies.Route.name":            {"one", "a b", "off"},
	"policies.Route.group":           {"few", "ghost"},
	"policies.Route.path":            {`["/one/*"]`, "/two", "one", "/*/x", "'*.php'", "'/one/*.css'", "'/one/{id}'", "'^/one$'"},
	"policies.Route.methods":         {"[GET, POST]", "[get]", "[GET, GET]"},
	"policies.Route.purge":           {"[a]", "'a,b'"},
	"policies.Route.redirect":        {"on", "{to: ftp://x}"},
	"policies.Route.respond":         {"on", "{status: 99}"},
	"policies.Conditions.path_regex": {`"^/one/[a-z]+$"`, `"("`, `"é"`},
	"policies.Conditions.scheme":     {"http", "ftp"},
	"policies.Conditions.cookies":    {"{a: b, c: present}", `{"a b": c}`},
	"policies.Conditions.plan":       {"gold", "[gold, ghost]"},
	"policies.Conditions.headers":    {"{X-A: b}", `{"a b": c}`, "{Host: x}"},
	"policies.Conditions.query":      {`{v: "2"}`},
	"policies.Conditions.client_ip":  {"10.0.0.0/8", "nowhere"},
	"policies.Redirect.to":           {"https://example.com/x", "'https://{host}{uri}'", "'https://{query:x}/'", "'/{ghost}'", "//x", "'https://:host/'", "x"},
	"policies.Redirect.status":       {"301", "300", "200"},
	"policies.Respond.status":        {"201", "204", "99"},
	"policies.Respond.body":          {"hello"},
	"policies.Respond.content_type":  {"text/html", `"a\nb"`},
}
