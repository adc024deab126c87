package ratelimit

import "sync"

// bannedKeys are the keys that this instance has banned, or has learned to be banned. They are for operators:
// the deny cache and Redis enforce bans. It is bounded: the ban that ends first makes room.
type bannedKeys struct {
	mu    sync.Mutex
	bans  map[counterKey]bannedKey // by item.banKey
	fresh []counterKey             // not yet published
}

type bannedKey struct {
	limit  string
	values []listedValue
	tag    digest
	end    int64 // microseconds of the counters' clock
}

const maxBannedKeys = 1024

func newBannedKeys() *bannedKeys { return &bannedKeys{bans: make(map[counterKey]bannedKey)} }

func (l *bannedKeys) add(it *item, values []listedValue, end, now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := it.banKey()
	if _, there := l.bans[k]; !there && len(l.bans) >= maxBannedKeys {
		l.makeRoom(now)
	}
	l.bans[k] = bannedKey{limit: it.limit.Name, values: values, tag: it.tag, end: end}
	if len(l.fresh) < maxBannedKeys {
		l.fresh = append(l.fresh, k)
	}
}

func (l *bannedKeys) makeRoom(now int64) {
	var first counterKey
	for k, b := range l.bans {
		if b.end <= now {
			delete(l.bans, k)
		} else if least, ok := l.bans[first]; !ok || b.end < least.end {
			first = k
		}
	}
	if len(l.bans) >= maxBannedKeys {
		delete(l.bans, first)
	}
}

func (l *bannedKeys) forget(k counterKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.bans, k)
}

// takeFresh returns the bans that are to be published.
func (l *bannedKeys) takeFresh() map[counterKey]bannedKey {
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh := make(map[counterKey]bannedKey, len(l.fresh))
	for _, k := range l.fresh {
		if b, ok := l.bans[k]; ok {
			fresh[k] = b
		}
	}
	l.fresh = nil
	return fresh
}

// untake has bans published the next time, since Redis did not take them.
func (l *bannedKeys) untake(bans map[counterKey]bannedKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range bans {
		if len(l.fresh) < maxBannedKeys {
			l.fresh = append(l.fresh, k)
		}
	}
}

// all returns the bans in force.
func (l *bannedKeys) all(now int64) map[counterKey]bannedKey {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[counterKey]bannedKey, len(l.bans))
	for k, b := range l.bans {
		if b.end > now {
			all[k] = b
		}
	}
	return all
}
