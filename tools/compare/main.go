// Compare measures what a request costs in CPU at Headgate and at others, on
// the same machine, in one run, interleaved:
//
//	go run ./tools/compare [-rounds 3] [-seconds 3]
//
// It starts an nginx as the origin, and as contenders an nginx, a bare Echo
// with httputil.ReverseProxy, and Headgate, loads each with wrk (-t1 -c64, a
// 1 KiB body, loopback), and prints the CPU microseconds (user and system) of
// the contender's processes per request, Redis' own after a plus. It needs
// nginx, wrk and redis-server, and Linux for /proc.
package main

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 3, "how often each is measured; the median counts")
	seconds := flag.Int("seconds", 3, "how long each measurement takes")
	bare := flag.String("bare", "", "internal: serve a bare Echo and ReverseProxy at ADDR,ORIGIN")
	flag.Parse()
	var err error
	if *bare != "" {
		err = serveBare(*bare)
	} else {
		err = run(*rounds, *seconds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// contender is a server under load.
type contender struct {
	name, work string
	addr, path string
	status     int   // that nearly all answers have
	pids       []int // whose CPU counts
	redis      int   // the process of its Redis, 0 for none
	spend      int   // requests to send first, so that a limit is used up
}

func run(rounds, seconds int) error {
	dir, err := os.MkdirTemp("", "compare")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // nginx' workers are another user
		return err
	}
	lab := &lab{dir: dir}
	defer lab.stop()
	contenders, err := lab.start()
	if err != nil {
		return err
	}

	cost := map[string][]float64{}
	redis := map[string][]float64{}
	for range rounds {
		for _, c := range contenders {
			own, its, err := c.measure(seconds)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", c.work, c.name, err)
			}
			key := c.work + "\t" + c.name
			cost[key] = append(cost[key], own)
			redis[key] = append(redis[key], its)
		}
	}
	fmt.Println("CPU microseconds per request, median of", rounds, "interleaved rounds")
	for _, c := range contenders {
		key := c.work + "\t" + c.name
		line := fmt.Sprintf("%-34s %-22s %7.1f", c.work, c.name, median(cost[key]))
		if c.redis != 0 {
			line += fmt.Sprintf(" + %.1f Redis", median(redis[key]))
		}
		fmt.Println(line)
	}
	return nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// measure loads the contender and returns CPU microseconds per request, its
// own and those of its Redis.
func (c *contender) measure(seconds int) (own, redis float64, err error) {
	url := "http://" + c.addr + c.path
	for range max(c.spend, 1) {
		res, err := http.Get(url)
		if err != nil {
			return 0, 0, err
		}
		res.Body.Close()
	}
	if res, err := http.Get(url); err != nil {
		return 0, 0, err
	} else if res.Body.Close(); res.StatusCode != c.status {
		return 0, 0, fmt.Errorf("it answers %d, not %d", res.StatusCode, c.status)
	}
	ownBefore, redisBefore := cpu(c.pids...), cpu(c.redis)
	out, err := exec.Command("wrk", "-t1", "-c64", fmt.Sprintf("-d%ds", seconds), url).CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("wrk: %w: %s", err, out)
	}
	ownAfter, redisAfter := cpu(c.pids...), cpu(c.redis)
	m := regexp.MustCompile(`(\d+) requests in`).FindSubmatch(out)
	if m == nil {
		return 0, 0, fmt.Errorf("wrk printed %s", out)
	}
	n, _ := strconv.ParseFloat(string(m[1]), 64)
	return micros(ownAfter-ownBefore) / n, micros(redisAfter-redisBefore) / n, nil
}

// tick is the unit of /proc's CPU times: USER_HZ, which is 100 on all of Linux.
const tick = 10 * time.Millisecond

func micros(ticks int) float64 { return float64(time.Duration(ticks) * tick / time.Microsecond) }

// cpu returns the user and system time of processes and their children, in ticks.
func cpu(pids ...int) int {
	total := 0
	for _, pid := range pids {
		if pid == 0 {
			continue
		}
		for _, p := range append(children(pid), pid) {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
			if err != nil {
				continue
			}
			fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
			user, _ := strconv.Atoi(fields[11])
			system, _ := strconv.Atoi(fields[12])
			total += user + system
		}
	}
	return total
}

func children(pid int) (pids []int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, f := range strings.Fields(string(text)) {
		if p, err := strconv.Atoi(f); err == nil {
			pids = append(pids, p)
		}
	}
	return pids
}

// lab is what runs during a comparison.
type lab struct {
	dir  string
	cmds []*exec.Cmd
}

func (l *lab) stop() {
	for _, c := range slices.Backward(l.cmds) {
		_ = c.Process.Signal(os.Interrupt)
		_ = c.Wait()
	}
}

// run starts a program and waits until addr answers.
func (l *lab) run(addr, name string, args ...string) (pid int, err error) {
	log, err := os.Create(filepath.Join(l.dir, fmt.Sprintf("%d.log", len(l.cmds))))
	if err != nil {
		return 0, err
	}
	defer log.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	l.cmds = append(l.cmds, cmd)
	for range 500 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return cmd.Process.Pid, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	text, _ := os.ReadFile(log.Name())
	return 0, fmt.Errorf("%s does not listen on %s: %s", name, addr, text)
}

func (l *lab) write(name, text string) string {
	file := filepath.Join(l.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		panic(err)
	}
	return file
}

func free() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start starts everything and returns who is to be measured, those of one work together.
func (l *lab) start() ([]*contender, error) {
	origin, nginx, logging, bare, redis := free(), free(), free(), free(), free()
	l.write("body", strings.Repeat("x", 1024))
	must := func(pid int, err error) int {
		if err != nil {
			panic(err)
		}
		return pid
	}
	var failure error
	contenders := func() (all []*contender) {
		defer func() {
			if p := recover(); p != nil {
				failure = cmp.Or(asError(p), failure)
			}
		}()
		must(l.run(origin, "nginx", "-c", l.write("origin.conf", originConf(l.dir, origin))))
		nginxPID := must(l.run(nginx, "nginx", "-c", l.write("nginx.conf", nginxConf(l.dir, "nginx", nginx, origin, "crit"))))
		loggingPID := must(l.run(logging, "nginx", "-c", l.write("logging.conf", nginxConf(l.dir, "logging", logging, origin, "error"))))
		self, err := os.Executable()
		if err != nil {
			panic(err)
		}
		barePID := must(l.run(bare, self, "-bare", bare+","+origin))
		_, redisPort, _ := net.SplitHostPort(redis)
		redisPID := must(l.run(redis, "redis-server", "--port", redisPort, "--save", ""))

		binary := filepath.Join(l.dir, "headgate")
		if out, err := exec.Command("go", "build", "-o", binary, "./gateway").CombinedOutput(); err != nil {
			panic(fmt.Errorf("build: %w: %s", err, out))
		}
		local, shared := free(), free()
		localPID := must(l.run(local, binary, "serve", "-p", l.write("local.yaml", policy(local, origin, ""))))
		sharedPID := must(l.run(shared, binary, "serve", "-p", l.write("shared.yaml", policy(shared, origin, "redis://"+redis))))

		const plain, limited, denied, cached = "proxy, no policy", "proxy under a limit", "429", "cached hit"
		add := func(work, name, addr, path string, status, pid, redis, spend int) {
			all = append(all, &contender{name: name, work: work, addr: addr, path: path, status: status, pids: []int{pid}, redis: redis, spend: spend})
		}
		add(plain, "nginx", nginx, "/plain", 200, nginxPID, 0, 0)
		add(plain, "Echo + ReverseProxy", bare, "/body", 200, barePID, 0, 0)
		add(plain, "Headgate", local, "/plain", 200, localPID, 0, 0)
		add(limited, "nginx (local)", nginx, "/limited", 200, nginxPID, 0, 0)
		add(limited, "Headgate (local)", local, "/limited", 200, localPID, 0, 0)
		add(limited, "Headgate (Redis)", shared, "/limited", 200, sharedPID, redisPID, 0)
		add(denied, "nginx (local)", nginx, "/denied", 429, nginxPID, 0, 20)
		add(denied, "nginx, logging each", logging, "/denied", 429, loggingPID, 0, 20) // which is its default
		add(denied, "Headgate (Redis)", shared, "/denied", 429, sharedPID, redisPID, 20)
		add(cached, "nginx", nginx, "/cached", 200, nginxPID, 0, 5)
		add(cached, "Headgate (local tier)", shared, "/cached", 200, sharedPID, redisPID, 5)
		return all
	}()
	return contenders, failure
}

func asError(p any) error {
	if err, ok := p.(error); ok {
		return err
	}
	return errors.New(fmt.Sprint(p))
}

func originConf(dir, addr string) string {
	return fmt.Sprintf(`
worker_processes 1; daemon off; pid %[1]s/origin.pid; error_log %[1]s/origin.err;
events { worker_connections 4096; }
http {
	access_log off; keepalive_requests 10000000; default_type text/plain;
	server {
		listen %[2]s backlog=4096;
		location / { root %[1]s; try_files /body =404; add_header Cache-Control "max-age=3600"; }
	}
}`, dir, addr)
}

func nginxConf(dir, name, addr, origin, errorLevel string) string {
	return fmt.Sprintf(`
worker_processes 1; daemon off; pid %[1]s/%[4]s.pid; error_log %[1]s/%[4]s.err %[5]s;
events { worker_connections 4096; }
http {
	access_log off; keepalive_requests 10000000;
	proxy_cache_path %[1]s/%[4]s-cache keys_zone=c:10m;
	limit_req_zone $binary_remote_addr zone=wide:10m rate=1000000r/s;
	limit_req_zone $binary_remote_addr zone=narrow:10m rate=1r/m;
	limit_req_status 429;
	upstream origin { server %[3]s; keepalive 256; keepalive_requests 10000000; }
	server {
		listen %[2]s backlog=4096;
		proxy_http_version 1.1; proxy_set_header Connection "";
		location /plain { proxy_pass http://origin; }
		location /limited { limit_req zone=wide burst=1000000 nodelay; proxy_pass http://origin; }
		location /denied { limit_req zone=narrow; proxy_pass http://origin; }
		location /cached { proxy_cache c; proxy_cache_valid 200 1h; proxy_pass http://origin; }
	}
}`, dir, addr, origin, name, errorLevel)
}

func policy(addr, origin, redis string) string {
	return fmt.Sprintf(`
version: 1
server: {listen: %q, admin: {listen: off}, access_log: off}
redis: {url: %q}
upstreams: {origin: {servers: ["http://%s"]}}
limits:
  wide: {requests: 1000000000, window: 1h}
  narrow: {requests: 5, window: 24h}
caches: {pages: {}}
routes:
  - {name: plain, path: /plain, upstream: origin}
  - {name: limited, path: /limited, upstream: origin, limits: wide}
  - {name: denied, path: /denied, upstream: origin, limits: narrow}
  - {name: cached, path: /cached, upstream: origin, cache: pages}
`, addr, redis, origin)
}
