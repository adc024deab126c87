//go:build linux

package main

import (
	"debug/buildinfo"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// contender is a column of the tables.
type contender struct {
	name    string
	servers map[string]*server // by a work's key; where it is missing, the contender does not do that work
}

// server is a process under load.
type server struct {
	addr  string
	pid   int
	redis int // the process of its Redis, 0 for none
}

// kind is a contender that -contenders can name.
type kind struct {
	key, name string
	program   string // that must be built first, "" for none
	module    string // whose version is shown, "" for none
	start     func(l *lab, program string) (map[string]*server, error)
}

func kinds() []kind {
	return []kind{
		{"nginx", "nginx", "", "", (*lab).startNginx},
		{"bare", "Echo + ReverseProxy", "", "", (*lab).startBare},
		{"headgate", "Headgate", "headgate", "", (*lab).startHeadgate},
		{"traefik", "fastProxy of Traefik", "traefik", "github.com/traefik/traefik/v3", (*lab).startTraefik},
		{"caddy", "Caddy", "caddy", "github.com/caddyserver/caddy/v2", (*lab).startCaddy},
	}
}

func contenderNames() (names []string) {
	for _, k := range kinds() {
		names = append(names, k.key)
	}
	return names
}

func parseContenders(list string) (names []string, err error) {
	if list == "" {
		return contenderNames(), nil
	}
	for name := range strings.SplitSeq(list, ",") {
		if !slices.Contains(contenderNames(), name) {
			return nil, fmt.Errorf("-contenders: %q is none of %s", name, strings.Join(contenderNames(), ", "))
		}
		names = append(names, name)
	}
	return names, nil
}

// startContenders starts those of the plan that are to be had on this machine;
// the report tells of the others.
func (l *lab) startContenders(p *plan, r *report) (all []*contender, err error) {
	add := func(k kind, program string) {
		servers, err := k.start(l, program)
		if err != nil {
			r.fail("%s: %v", k.name, err)
			return
		}
		name := strings.TrimSpace(k.name + " " + moduleVersion(program, k.module))
		all = append(all, &contender{name, servers})
	}
	for _, k := range kinds() {
		if !slices.Contains(p.contenders, k.key) {
			continue
		}
		program, err := l.program(k.program, p.build)
		if err != nil {
			r.note("%s: %v", k.key, err)
			continue
		}
		add(k, program)
		if k.key == "headgate" {
			for _, b := range p.binaries {
				add(kind{name: b.name, start: k.start}, b.path)
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there is no contender to measure: %s", strings.Join(r.notes, "; "))
	}
	return all, nil
}

// program returns the path of a contender's binary. Headgate is built each
// time; the others are built into the cache folder if build is set.
func (l *lab) program(name string, build bool) (path string, err error) {
	switch name {
	case "":
		return "", nil
	case "headgate":
		path = filepath.Join(l.dir, name)
		return path, l.goBuild("", path, "github.com/headgate/headgate/gateway")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	path = filepath.Join(cache, "headgate-compare", name)
	if build {
		module, err := exec.CommandContext(l.ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/headgate/headgate").Output()
		if err != nil {
			return "", fmt.Errorf("go list -m, in Headgate's source folder: %w", err)
		}
		folder := filepath.Join(strings.TrimSpace(string(module)), "tools/compare/contenders", name)
		if err := l.goBuild(folder, path, "tool"); err != nil {
			return "", fmt.Errorf("not to be had here: %w", err)
		}
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("not built on this machine; -build builds it")
	}
	return path, nil
}

// moduleVersion is the version of a module that a Go binary was built from, or "".
func moduleVersion(program, module string) string {
	info, err := buildinfo.ReadFile(program)
	if err != nil || module == "" {
		return ""
	}
	for _, dep := range append(info.Deps, &info.Main) {
		if dep.Path == module {
			return dep.Version
		}
	}
	return ""
}

// goBuild builds a package, with the go.mod of a folder ("" for this one).
func (l *lab) goBuild(folder, output, pkg string) error {
	fmt.Fprintln(os.Stderr, "building", filepath.Base(output))
	cmd := exec.CommandContext(l.ctx, "go", "build", "-trimpath", "-o", output, pkg)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("go build: %w: %s", err, lines[len(lines)-1])
	}
	return nil
}

// everything maps the keys of all works but those of except to one server.
func everything(addr, tlsAddr string, pid int, except ...string) map[string]*server {
	servers := map[string]*server{}
	for _, w := range allWorks() {
		if slices.Contains(except, w.key) {
			continue
		}
		servers[w.key] = &server{addr: addr, pid: pid}
		if w.tls {
			servers[w.key].addr = tlsAddr
		}
	}
	return servers
}

func (l *lab) startBare(string) (map[string]*server, error) {
	addrs, err := freeAddrs(2)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	pid, err := l.start(addrs[0], nil, self, "serve-bare", addrs[0], addrs[1], l.origin, l.cert, l.key)
	return everything(addrs[0], addrs[1], pid, "limited", "redis", "429", "429log", "hit"), err
}

// startHeadgate starts three gateways: one that listens for HTTP and one for
// HTTPS, both without Redis, and one with a Redis of its own.
func (l *lab) startHeadgate(program string) (map[string]*server, error) {
	addrs, err := freeAddrs(4)
	if err != nil {
		return nil, err
	}
	serve := func(addr, tls, redis string) (pid int, err error) {
		_, port, _ := net.SplitHostPort(addr)
		file, err := l.write("headgate-"+port+".yaml", headgatePolicy(addr, l.origin, tls, redis))
		if err != nil {
			return 0, err
		}
		return l.start(addr, nil, program, "serve", "-p", file)
	}
	alone, err := serve(addrs[0], "", "")
	if err != nil {
		return nil, err
	}
	secure, err := serve(addrs[1], fmt.Sprintf("tls: {cert_file: %q, key_file: %q},", l.cert, l.key), "")
	if err != nil {
		return nil, err
	}
	servers := everything(addrs[0], addrs[1], alone, "redis", "429", "429log", "hit")
	servers["https"].pid, servers["h2"].pid = secure, secure
	if _, err := exec.LookPath("redis-server"); err != nil {
		for _, key := range []string{"429", "hit"} {
			servers[key] = &server{addr: addrs[0], pid: alone}
		}
		return servers, nil
	}
	_, redisPort, _ := net.SplitHostPort(addrs[3])
	redis, err := l.start(addrs[3], nil, "redis-server", "--port", redisPort, "--bind", "127.0.0.1", "--save", "", "--dir", l.dir)
	if err != nil {
		return nil, err
	}
	shared, err := serve(addrs[2], "", fmt.Sprintf("redis: {url: %q}", "redis://"+addrs[3]))
	for _, key := range []string{"redis", "429", "hit"} {
		servers[key] = &server{addr: addrs[2], pid: shared, redis: redis}
	}
	return servers, err
}

// headgatePolicy keeps to the keys of the first version, so that older
// binaries can be measured with it.
func headgatePolicy(addr, origin, tls, redis string) string {
	return fmt.Sprintf(`
version: 1
server: {listen: %q, %s admin: {listen: off}, access_log: off}
%s
upstreams: {origin: {servers: ["http://%s"]}}
limits:
  wide: {requests: 1000000000, window: 1h}
  narrow: {requests: 5, window: 24h}
caches: {pages: {}}
routes:
  - {name: all, path: /*, upstream: origin}
  - {name: limited, path: /limited, upstream: origin, limits: wide}
  - {name: denied, path: /denied, upstream: origin, limits: narrow}
  - {name: cached, path: /cached, upstream: origin, cache: pages}
`, addr, tls, redis, origin)
}

// startNginx starts two: one logs what matters, one also each refusal, as
// nginx does by default.
func (l *lab) startNginx(string) (map[string]*server, error) {
	addrs, err := freeAddrs(4)
	if err != nil {
		return nil, err
	}
	serve := func(name, addr, tlsAddr, errorLevel string) (pid int, err error) {
		file, err := l.write(name+".conf", l.nginxConf(name, addr, tlsAddr, errorLevel))
		if err != nil {
			return 0, err
		}
		return l.start(addr, nil, "nginx", "-c", file)
	}
	quiet, err := serve("nginx", addrs[0], addrs[1], "crit")
	if err != nil {
		return nil, err
	}
	logging, err := serve("nginx-logging", addrs[2], addrs[3], "error")
	servers := everything(addrs[0], addrs[1], quiet)
	servers["429log"] = &server{addr: addrs[2], pid: logging}
	return servers, err
}

func (l *lab) nginxConf(name, addr, tlsAddr, errorLevel string) string {
	return fmt.Sprintf(`
worker_processes 1; daemon off; pid %[1]s/%[2]s.pid; error_log %[1]s/%[2]s.err %[5]s;
events { worker_connections 4096; }
http {
	access_log off; keepalive_requests 10000000;
	proxy_cache_path %[1]s/%[2]s-cache keys_zone=c:10m;
	limit_req_zone $binary_remote_addr zone=wide:10m rate=1000000r/s;
	limit_req_zone $binary_remote_addr zone=narrow:10m rate=1r/m;
	limit_req_status 429;
	upstream origin { server %[6]s; keepalive 256; keepalive_requests 10000000; }
	server {
		listen %[3]s backlog=4096;
		listen %[4]s ssl http2 backlog=4096;
		ssl_certificate %[7]s; ssl_certificate_key %[8]s; ssl_protocols TLSv1.2 TLSv1.3;
		proxy_http_version 1.1; proxy_set_header Connection "";
		location / { proxy_pass http://origin; }
		location /limited { limit_req zone=wide burst=1000000 nodelay; proxy_pass http://origin; }
		location /denied { limit_req zone=narrow; proxy_pass http://origin; }
		location /cached { proxy_cache c; proxy_cache_valid 200 1h; proxy_pass http://origin; }
	}
}`, l.dir, name, addr, tlsAddr, errorLevel, l.origin, l.cert, l.key)
}

func (l *lab) startTraefik(program string) (map[string]*server, error) {
	addrs, err := freeAddrs(2)
	if err != nil {
		return nil, err
	}
	routing, err := l.write("traefik-routing.yaml", fmt.Sprintf(`
http:
  routers:
    all: {rule: "PathPrefix(%[1]s/%[1]s)", service: origin, entryPoints: [plain]}
    limited: {rule: "Path(%[1]s/limited%[1]s)", service: origin, middlewares: [wide], entryPoints: [plain]}
    denied: {rule: "Path(%[1]s/denied%[1]s)", service: origin, middlewares: [narrow], entryPoints: [plain]}
    secure: {rule: "PathPrefix(%[1]s/%[1]s)", service: origin, entryPoints: [secure], tls: {}}
  middlewares:
    wide: {rateLimit: {average: 1000000, burst: 1000000}}
    narrow: {rateLimit: {average: 1, period: 24h, burst: 1}}
  services: {origin: {loadBalancer: {servers: [{url: "http://%[2]s"}]}}}
tls: {stores: {default: {defaultCertificate: {certFile: %[3]q, keyFile: %[4]q}}}}
`, "`", l.origin, l.cert, l.key))
	if err != nil {
		return nil, err
	}
	config, err := l.write("traefik.yaml", fmt.Sprintf(`
global: {checkNewVersion: false, sendAnonymousUsage: false}
log: {level: ERROR}
entryPoints: {plain: {address: %q}, secure: {address: %q}}
experimental: {fastProxy: {}}
providers: {file: {filename: %q, watch: false}}
`, addrs[0], addrs[1], routing))
	if err != nil {
		return nil, err
	}
	pid, err := l.start(addrs[0], nil, program, "--configFile="+config)
	return everything(addrs[0], addrs[1], pid, "429log", "hit"), err
}

func (l *lab) startCaddy(program string) (map[string]*server, error) {
	addrs, err := freeAddrs(2)
	if err != nil {
		return nil, err
	}
	proxy := fmt.Sprintf("reverse_proxy %s {\n transport http {\n keepalive_idle_conns_per_host 256\n }\n }", l.origin)
	config, err := l.write("Caddyfile", fmt.Sprintf(`
{
	admin off
	persist_config off
	auto_https off
	log {
		level ERROR
	}
}
http://%s {
	%s
}
https://%s {
	tls %s %s
	%s
}
`, addrs[0], proxy, addrs[1], l.cert, l.key, proxy))
	if err != nil {
		return nil, err
	}
	env := []string{"XDG_DATA_HOME=" + l.dir, "XDG_CONFIG_HOME=" + l.dir}
	pid, err := l.start(addrs[0], env, program, "run", "--config", config, "--adapter", "caddyfile")
	return everything(addrs[0], addrs[1], pid, "limited", "redis", "429", "429log", "hit"), err
}
