package cache

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/headgate/headgate/middleware/cache/internal/fleet"
	"github.com/headgate/headgate/middleware/cache/internal/rfc9111"
	"github.com/headgate/headgate/middleware/store"
)

// redisTier is what is stored in Redis, for all instances.
//
// Under one hash tag for each cached resource:
//
//	{HASH}:i            hash: variant -> metadata, and "#", which counts changes
//	{HASH}:b:BODY:N     chunk N of an immutable body
//	{HASH}:l:...        the lease on a fetch, and :w, whether others wait for it
//
// Every key expires with what it holds, and an account of their bytes is kept in
// {budget}.
type redisTier struct {
	redis   *store.Redis
	account *fleet.Account
	log     *slog.Logger
	now     func() time.Time
}

// redisChunk is the size of a body's chunks: small enough that Redis is not
// busy with one for long. They travel apart from what decides on requests.
const redisChunk = 256 << 10

// smallChunk is up to where a chunk may travel with other writes.
const smallChunk = 16 << 10

func (r *redisTier) key(hash keyHash, parts ...string) string {
	return r.redis.Key(append([]string{"cache", "{" + hash.String() + "}"}, parts...)...)
}

func (r *redisTier) indexKey(hash keyHash) string { return r.key(hash, "i") }

func (r *redisTier) chunkPrefix(hash keyHash) string { return r.key(hash, "b", "") }

// leaseKey names the lease on a fetch. variants is what Redis has, so that all
// instances name it alike.
func (r *redisTier) leaseKey(j *job, class rfc9111.Class, generation uint64, variants []*entry) string {
	variant := rfc9111.VariantID{}
	if len(variants) > 0 {
		variant = rfc9111.VariantFor(variants[0].Vary, j.want.Field)
	}
	return r.key(j.hash, "l", hex.EncodeToString(variant[:]), strconv.Itoa(int(class)), strconv.FormatUint(generation, 10))
}

// field names an entry in the index, as SameVariant does.
func (e *entry) field() string {
	return hex.EncodeToString(e.Variant[:]) + strconv.Itoa(int(e.Admits))
}

// load reads all metadata of a resource. version is that of the index, for the lease.
func (r *redisTier) load(ctx context.Context, hash keyHash, keyText string) (entries []*entry, version int64, err error) {
	cmd := redis.NewMapStringStringCmd(ctx, "hgetall", r.indexKey(hash))
	if err := r.redis.Do(ctx, cmd); err != nil {
		return nil, 0, err
	}
	fields, err := cmd.Result()
	if err != nil {
		return nil, 0, err
	}
	for name, blob := range fields {
		if name == "#" {
			version, _ = strconv.ParseInt(blob, 10, 64)
			continue
		}
		if len(blob) < blobPrefix {
			continue
		}
		e, err := decodeEntry([]byte(blob[blobPrefix:]))
		if err != nil || e.keyText != keyText {
			continue
		}
		e.owned.by(owner(binary.BigEndian.Uint32([]byte(blob[blobOwner:blobPrefix]))))
		entries = append(entries, e)
	}
	sortNewestFirst(entries)
	return entries, version, nil
}

// loadBody reads an entry's chunks. ok is false if one is not there any more,
// or not as long as it was.
func (r *redisTier) loadBody(ctx context.Context, hash keyHash, e *entry) (b body, ok bool, err error) {
	b.size = e.body.size
	prefix := r.chunkPrefix(hash) + e.bodyID + ":"
	left := b.size
	for n := 0; n < chunkCount(b.size); n++ {
		cmd := redis.NewStringCmd(ctx, "get", prefix+strconv.Itoa(n))
		if err := r.redis.DoLarge(ctx, cmd); err != nil {
			return body{}, false, err
		}
		chunk, err := cmd.Bytes()
		if errors.Is(err, redis.Nil) {
			return body{}, false, nil
		}
		if err != nil {
			return body{}, false, err
		}
		if int64(len(chunk)) != min(left, redisChunk) {
			return body{}, false, nil
		}
		left -= int64(len(chunk))
		b.chunks = append(b.chunks, chunk)
	}
	return b, true, nil
}

func chunkCount(size int64) int { return int((size + redisChunk - 1) / redisChunk) }

// put stores an entry whose body is new: first the chunks of the body, then the
// metadata that makes them visible. No request waits for it, and each of its commands
// has the time of writes: an answer of Redis that comes too late for a request does not
// lose the entry. replaces says that something is stored under
// the key, whose room it may take. It is false where there is no room.
func (r *redisTier) put(ctx context.Context, hash keyHash, e *entry, by claim, replaces bool) (bool, error) {
	keep := e.KeepUntil().Sub(r.now())
	if keep <= 0 {
		return true, nil
	}
	blob := indexBlob(e)
	index := indexCost(1, int64(len(blob)), len(r.indexKey(hash)))
	chunks := bodyCost(e.body.size, len(r.chunkPrefix(hash)))
	if ok, err := r.reserve(ctx, hash, e, index+chunks, replaces); !ok {
		return false, err
	}
	// The chunks outlive their metadata: an index never names what is gone by itself.
	body := fleet.Change{Expires: keep + linger, Bytes: chunks}
	if err := r.putChunks(ctx, hash, e, keep+linger); err != nil {
		r.account.Settle(index+chunks, body) // some may have been written
		return true, err
	}
	changes, stored, err := r.putIndex(ctx, hash, e, by, blob, keep)
	switch {
	case errors.Is(err, errOvertaken):
		r.dropChunks(ctx, hash, e)
		r.account.Settle(index + chunks)
		return true, err
	case err != nil:
		changes = []fleet.Change{{Expires: keep, Bytes: index}} // it may have been written
	case !stored:
		err = errors.New("a chunk was evicted at once")
	}
	r.account.Settle(index+chunks, append(changes, body)...)
	return true, err
}

// reserve takes room for an entry, that of what it replaces if there is no other.
func (r *redisTier) reserve(ctx context.Context, hash keyHash, e *entry, n int64, replaces bool) (bool, error) {
	ok, err := r.account.Reserve(store.Writing(ctx), n)
	if ok || err != nil || !replaces {
		return ok, err
	}
	freed, err := r.take(ctx, hash, e.field(), "", 0)
	if err != nil || !freed {
		return false, err
	}
	return r.account.Reserve(store.Writing(ctx), n)
}

// update stores an entry whose body should be there already, and only kept
// longer: what a 304 makes. It is false where there is no room.
func (r *redisTier) update(ctx context.Context, hash keyHash, e *entry, by claim) (bool, error) {
	keep := e.KeepUntil().Sub(r.now())
	if keep <= 0 {
		return true, nil
	}
	changes, stored, err := r.putIndex(ctx, hash, e, by, indexBlob(e), keep)
	if err != nil {
		return true, err
	}
	r.account.Settle(0, changes...)
	if stored || !e.body.loaded() {
		return true, nil
	}
	return r.put(ctx, hash, e, by, true)
}

// linger is how long a body stays after its metadata: a reader that has seen
// these may still be at it.
const linger = 10 * time.Second

func (r *redisTier) putChunks(ctx context.Context, hash keyHash, e *entry, keep time.Duration) error {
	ms := strconv.FormatInt(keep.Milliseconds(), 10)
	prefix := r.chunkPrefix(hash) + e.bodyID + ":"
	n := 0
	send := func(chunk []byte) error {
		cmd := redis.NewStatusCmd(ctx, "set", prefix+strconv.Itoa(n), chunk, "px", ms)
		n++
		do := r.redis.DoLarge
		if len(chunk) <= smallChunk {
			do = r.redis.Do
		}
		if err := do(store.Writing(ctx), cmd); err != nil {
			return err
		}
		return cmd.Err()
	}
	var chunk []byte
	for _, piece := range e.body.chunks {
		for len(piece) > 0 {
			if len(chunk) == 0 && len(piece) >= redisChunk {
				if err := send(piece[:redisChunk]); err != nil {
					return err
				}
				piece = piece[redisChunk:]
				continue
			}
			take := min(len(piece), redisChunk-len(chunk))
			// A fresh buffer each time: after an error it may still be in flight.
			if chunk == nil {
				chunk = make([]byte, 0, min(redisChunk, e.body.size))
			}
			chunk = append(chunk, piece[:take]...)
			piece = piece[take:]
			if len(chunk) == redisChunk {
				if err := send(chunk); err != nil {
					return err
				}
				chunk = nil
			}
		}
	}
	if len(chunk) > 0 {
		return send(chunk)
	}
	return nil
}

// dropChunks deletes a body that has not become visible. What is left after an error expires.
func (r *redisTier) dropChunks(ctx context.Context, hash keyHash, e *entry) {
	unlink := []any{"unlink"}
	for n := range chunkCount(e.body.size) {
		unlink = append(unlink, r.chunkPrefix(hash)+e.bodyID+":"+strconv.Itoa(n))
	}
	if len(unlink) > 1 {
		_ = r.redis.Do(store.Writing(ctx), redis.NewIntCmd(ctx, unlink...))
	}
}

// blobPrefix is the part of an index value that scripts read: when it was
// stored in 13 digits of milliseconds, the body's name in 32, the number of its
// chunks in 6, and its owner in 4 bytes.
const (
	blobOwner  = 13 + 32 + 6
	blobPrefix = blobOwner + 4
)

func indexBlob(e *entry) []byte {
	blob := fmt.Appendf(nil, "%013d%s%06d", e.Received.UnixMilli(), e.bodyID, chunkCount(e.body.size))
	blob = binary.BigEndian.AppendUint32(blob, uint32(e.owned.owner()))
	return append(blob, encodeEntry(e)...)
}

// putIndex makes an entry visible. stored is false where chunks of its body are
// missing. changes are for the account.
func (r *redisTier) putIndex(ctx context.Context, hash keyHash, e *entry, by claim, blob []byte, keep time.Duration) (changes []fleet.Change, stored bool, err error) {
	keys := []string{r.indexKey(hash)}
	lease, token := by.lease.Held()
	if lease != "" {
		keys = append(keys, lease)
	}
	args := []any{e.field(), blob, keep.Milliseconds(), r.chunkPrefix(hash), maxVariants, linger.Milliseconds(), token, by.seenBody(e)}
	for _, field := range by.spared {
		args = append(args, field)
	}
	return r.changeIndex(store.Writing(ctx), hash, putScript.Call(keys, args...))
}

// remove takes an entry out of the index, if it is still the one there.
func (r *redisTier) remove(ctx context.Context, hash keyHash, e *entry) {
	if e.bodyID == "" {
		return
	}
	if _, err := r.take(ctx, hash, e.field(), e.bodyID, linger); err != nil {
		r.log.Debug("cache: an entry was not removed from Redis", "error", err)
	}
}

// take takes a variant out of the index if it has the given body, "" for any,
// and lets go of the body after a while.
func (r *redisTier) take(ctx context.Context, hash keyHash, field, bodyID string, after time.Duration) (bool, error) {
	call := removeScript.Call([]string{r.indexKey(hash)}, field, bodyID, r.chunkPrefix(hash), after.Milliseconds())
	changes, there, err := r.changeIndex(ctx, hash, call)
	if err == nil {
		r.account.Settle(0, changes...)
	}
	return there, err
}

// changeIndex runs putScript or removeScript. done is false where it did nothing.
func (r *redisTier) changeIndex(ctx context.Context, hash keyHash, call *store.Call) (changes []fleet.Change, done bool, err error) {
	if err := r.redis.Do(ctx, call); err != nil {
		return nil, false, err
	}
	reply, err := call.Int64Slice()
	if err != nil {
		return nil, false, err
	}
	if len(reply) == 1 {
		return nil, false, errOvertaken
	}
	changes, err = indexChanges(reply, len(r.indexKey(hash)), len(r.chunkPrefix(hash)))
	return changes, len(reply) > 0, err
}
