package ratelimit

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/headgate/headgate/middleware/store"
)

// denials tells the fleet whom this instance denies, and an operator whom the fleet denies. While it denies
// requests, an instance publishes its list of the most denied keys to one hash in Redis, once a second at most;
// bans go to one list with their ends. A reader merges them. Where nothing is denied, nothing is done.
type denials struct {
	counters *Counters
	instance string
	woken    atomic.Bool // a publication is scheduled

	mu     sync.Mutex
	timer  *time.Timer
	last   time.Time
	closed bool
}

const (
	// publishEvery is how often an instance publishes at most, and publishAfter how soon it does when it has
	// not lately.
	publishEvery = time.Second
	publishAfter = 50 * time.Millisecond
	// deniedFor is for how long a key is listed after it was denied last, as long as it is over its limit;
	// deniedBriefly if it is not any more.
	deniedFor     = 10 * time.Minute
	deniedBriefly = time.Minute
	// maxPublishers bounds the instances whose lists are kept, and maxBans the bans.
	maxPublishers = 256
	maxBans       = 10_000
	// listedBans is how many bans are read: those that last longest.
	listedBans = 1000
)

func newDenials(c *Counters) *denials { return &denials{counters: c, instance: rand.Text()} }

// wake schedules a publication. It costs nothing where one is scheduled.
func (d *denials) wake() {
	if d.counters.redis == nil || d.woken.Load() || !d.woken.CompareAndSwap(false, true) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.timer = time.AfterFunc(max(publishAfter, publishEvery-time.Since(d.last)), d.publish)
	}
}

func (d *denials) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.timer != nil {
		d.timer.Stop()
	}
}

func (d *denials) keys() []string {
	r := d.counters.redis.redis
	return []string{r.Key("{denials}", "top"), r.Key("{denials}", "ban-ends"), r.Key("{denials}", "bans")}
}

// published is a key in Redis. Its times are relative to when it was published.
type published struct {
	Limit  string   `json:"l"`
	Values []string `json:"k"`
	Digest string   `json:"d"`
	Tag    string   `json:"t"`
	N      int64    `json:"n,omitempty"`
	Error  int64    `json:"e,omitempty"`
	Ago    int64    `json:"a,omitempty"` // milliseconds since it was denied last
	Left   int64    `json:"u,omitempty"` // milliseconds until it is admitted
	Banned bool     `json:"b,omitempty"`
}

// publishScript stores an instance's list, and adds bans.
//
//	KEYS  lists by instance, ends of bans, bans
//	ARGV  instance, its list, for how long lists are kept in milliseconds, how many, how many bans; for each
//	      ban: its name, its milliseconds, what it is
var publishScript = store.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local keep, most, most_bans = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d ', now) .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], keep)
if redis.call('HLEN', KEYS[1]) > most then
  local all, oldest, oldest_at = redis.call('HGETALL', KEYS[1]), nil, now + 1
  for i = 1, #all, 2 do
    local at = tonumber(string.match(all[i + 1], '^%d+') or 0)
    if now - at > keep then redis.call('HDEL', KEYS[1], all[i]) end
    if at < oldest_at then oldest, oldest_at = all[i], at end
  end
  if redis.call('HLEN', KEYS[1]) > most then redis.call('HDEL', KEYS[1], oldest) end
end
for i = 6, #ARGV, 3 do
  redis.call('ZADD', KEYS[2], string.format('%d', now + ARGV[i + 1]), ARGV[i])
  redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 2])
end
local function drop(names)
  for _, name in ipairs(names) do
    redis.call('ZREM', KEYS[2], name)
    redis.call('HDEL', KEYS[3], name)
  end
end
drop(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 2000))
local over = redis.call('ZCARD', KEYS[2]) - most_bans
if over > 0 then drop(redis.call('ZRANGE', KEYS[2], 0, over - 1)) end
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2]
if last then
  redis.call('PEXPIRE', KEYS[2], string.format('%d', last - now))
  redis.call('PEXPIRE', KEYS[3], string.format('%d', last - now))
end
return 1
`)

// publish writes what this instance knows to Redis.
func (d *denials) publish() {
	d.woken.Store(false) // before the list is read: a denial from here on is published next
	d.mu.Lock()
	d.last = time.Now()
	d.mu.Unlock()
	c := d.counters
	now := c.clock()
	list := []published{}
	for _, k := range c.top.all(now) {
		list = append(list, k.published(now))
	}
	text, err := json.Marshal(list)
	if err != nil { // strings and numbers
		panic(err)
	}
	args := []any{d.instance, string(text), deniedFor.Milliseconds(), maxPublishers, maxBans}
	bans := c.banned.takeFresh()
	for k, b := range bans {
		text, err := json.Marshal(published{Limit: b.limit, Values: texts(b.values), Digest: k.digest.String(), Tag: b.tag.String()})
		if err != nil {
			panic(err)
		}
		args = append(args, k.text(), max(1, (b.end-now)/1000), string(text))
	}
	call := publishScript.Call(d.keys(), args...)
	if err = c.redis.redis.Do(context.Background(), call); err == nil {
		err = call.Err()
	}
	if err != nil {
		c.banned.untake(bans)
		c.complain("denials cannot be published for the other instances", err)
	}
}

// readScript returns the time, the lists by instance, the bans that last longest with their ends, and how
// many bans there are.
var readScript = store.NewScript(`
local t = redis.call('TIME')
local bans = redis.call('ZRANGE', KEYS[2], -tonumber(ARGV[1]), -1, 'WITHSCORES')
local names, read = {}, {}
for i = 1, #bans, 2 do names[#names + 1] = bans[i] end
if #names > 0 then
  for i, what in ipairs(redis.call('HMGET', KEYS[3], unpack(names))) do
    read[#read + 1] = bans[2 * i]
    read[#read + 1] = what or ''
  end
end
return {t[1] * 1000 + math.floor(t[2] / 1000), redis.call('HGETALL', KEYS[1]), read, redis.call('ZCARD', KEYS[2])}
`)

// DeniedKeys is who is denied, or banned, at the time.
type DeniedKeys struct {
	// Keys are bounded: the most denied of each instance, and the bans that last longest. The most denied
	// come first.
	Keys []DeniedKey
	// Bans is how many bans there are, of which Keys may have but a part.
	Bans int
	// Fleet reports whether Keys is about all instances that share the Redis, and not this one alone.
	Fleet bool
}

// DeniedKeys returns who was denied within the last ten minutes and is over its limit still, who was denied
// within the last minute, and who is banned. With an error it knows of this instance alone.
func (c *Counters) DeniedKeys(ctx context.Context) (DeniedKeys, error) {
	now := c.clock()
	merged := map[string]*DeniedKey{}
	for _, k := range c.top.all(now) {
		merge(merged, k.published(now), 0, now)
	}
	bans := 0
	for k, b := range c.banned.all(now) {
		bans++
		merge(merged, published{
			Limit: b.limit, Values: texts(b.values), Digest: k.digest.String(), Tag: b.tag.String(), Banned: true, Left: (b.end - now) / 1000,
		}, 0, now)
	}
	result := DeniedKeys{Bans: bans}
	var err error
	if c.redis != nil {
		var inRedis int
		if inRedis, err = c.fleet.read(ctx, merged, now); err == nil {
			result.Fleet, result.Bans = true, max(bans, inRedis)
		}
	}
	for _, k := range merged {
		result.Keys = append(result.Keys, *k)
	}
	slices.SortFunc(result.Keys, func(a, b DeniedKey) int {
		return cmp.Or(cmp.Compare(b.Denials, a.Denials), cmp.Compare(a.Limit, b.Limit), cmp.Compare(a.Key, b.Key))
	})
	return result, err
}

var errDenialsReply = errors.New("ratelimit: the list of denials in Redis cannot be read")

// read merges what the other instances have published, and returns how many bans there are.
func (d *denials) read(ctx context.Context, merged map[string]*DeniedKey, now int64) (bans int, err error) {
	call := readScript.Call(d.keys(), listedBans)
	if err := d.counters.redis.redis.Do(ctx, call); err != nil {
		return 0, err
	}
	reply, err := call.Slice()
	if err != nil {
		return 0, err
	}
	if len(reply) != 4 {
		return 0, errDenialsReply
	}
	at, ok1 := reply[0].(int64)
	lists, ok2 := reply[1].([]any)
	banned, ok3 := reply[2].([]any)
	n, ok4 := reply[3].(int64)
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return 0, errDenialsReply
	}
	for ; len(lists) >= 2; lists = lists[2:] {
		instance, _ := lists[0].(string)
		text, _ := lists[1].(string)
		if instance == d.instance {
			continue // it is merged as it is now
		}
		then, list, _ := strings.Cut(text, " ")
		var keys []published
		published, err := strconv.ParseInt(then, 10, 64)
		if err == nil {
			err = json.Unmarshal([]byte(list), &keys)
		}
		if err != nil {
			return 0, fmt.Errorf("%w: %w", errDenialsReply, err)
		}
		for _, k := range keys {
			merge(merged, k, at-published, now)
		}
	}
	for ; len(banned) >= 2; banned = banned[2:] {
		score, _ := banned[0].(string)
		text, _ := banned[1].(string)
		end, err := strconv.ParseFloat(score, 64)
		var k published
		if err != nil || json.Unmarshal([]byte(text), &k) != nil {
			continue
		}
		k.Banned, k.Left = true, int64(end)-at
		merge(merged, k, 0, now)
	}
	return int(n), nil
}

// merge adds a key that was published some milliseconds ago, if it still belongs into the list.
func merge(merged map[string]*DeniedKey, k published, age, now int64) {
	k.Ago += age
	k.Left = max(0, k.Left-age)
	recently := k.N > 0 && k.Ago < deniedFor.Milliseconds() && (k.Left > 0 || k.Ago < deniedBriefly.Milliseconds())
	if k.Banned = k.Banned && k.Left > 0; !recently && !k.Banned {
		return
	}
	name := k.Limit + " " + k.Digest
	m := merged[name]
	if m == nil {
		m = &DeniedKey{Limit: k.Limit, Key: k.Digest, Values: k.Values, tag: k.Tag}
		merged[name] = m
	}
	m.Denials += k.N
	m.Error += k.Error
	m.Banned = m.Banned || k.Banned
	if last := time.UnixMicro(now - k.Ago*1000); k.N > 0 && last.After(m.Last) {
		m.Last = last
	}
	m.RetryAfter = max(m.RetryAfter, time.Duration(k.Left)*time.Millisecond)
}

func (k *deniedKey) published(now int64) published {
	return published{
		Limit: k.limit, Values: texts(k.values), Digest: k.key.digest.String(), Tag: k.tag.String(),
		N: k.n, Error: k.err, Ago: max(0, now-k.last) / 1000, Left: max(0, k.until-now) / 1000, Banned: k.banned,
	}
}

func texts(values []listedValue) []string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = v.String()
	}
	return all
}

// parseDigest reads what digest.String has written.
func parseDigest(s string) (d digest, ok bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(d) {
		return d, false
	}
	return digest(b), true
}
