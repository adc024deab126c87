package cache

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

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
// Every key expires with what it holds.
type redisTier struct {
	redis *store.Redis
	log   *slog.Logger
	now   func() time.Time
}

// redisChunk is the size of a body's chunks: small enough that Redis is not
// busy with one for long. They travel apart from what decides on requests.
const redisChunk = 256 << 10

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

// put stores entries: first the chunks of the body, then the metadata that
// makes them visible.
func (r *redisTier) put(ctx context.Context, hash keyHash, entries []*entry) {
	for _, e := range entries {
		if err := r.putOne(ctx, hash, e); err != nil {
			r.log.Debug("cache: an entry did not reach Redis", "error", err)
			return
		}
	}
}

func (r *redisTier) putOne(ctx context.Context, hash keyHash, e *entry) error {
	keep := e.KeepUntil().Sub(r.now())
	if keep <= 0 {
		return nil
	}
	// A body that is there already is only kept longer: most 304s.
	stored, err := r.putIndex(ctx, hash, e, keep)
	if err != nil || stored {
		return err
	}
	if err := r.putChunks(ctx, hash, e, keep); err != nil {
		return err
	}
	stored, err = r.putIndex(ctx, hash, e, keep)
	if err == nil && !stored {
		return errors.New("a chunk was evicted at once")
	}
	return err
}

func (r *redisTier) putChunks(ctx context.Context, hash keyHash, e *entry, keep time.Duration) error {
	// The chunks outlive their metadata: an index never names what is gone by itself.
	ms := strconv.FormatInt((keep + 10*time.Second).Milliseconds(), 10)
	prefix := r.chunkPrefix(hash) + e.bodyID + ":"
	n := 0
	send := func(chunk []byte) error {
		cmd := redis.NewStatusCmd(ctx, "set", prefix+strconv.Itoa(n), chunk, "px", ms)
		n++
		if err := r.redis.DoLarge(ctx, cmd); err != nil {
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

// blobPrefix is the part of an index value that scripts read: when it was
// stored in 13 digits of milliseconds, the body's name in 32, and the number
// of its chunks in 6.
const blobPrefix = 13 + 32 + 6

func (r *redisTier) putIndex(ctx context.Context, hash keyHash, e *entry, keep time.Duration) (stored bool, err error) {
	blob := fmt.Appendf(nil, "%013d%s%06d", e.Received.UnixMilli(), e.bodyID, chunkCount(e.body.size))
	blob = append(blob, encodeEntry(e)...)
	call := putScript.Call([]string{r.indexKey(hash)}, e.field(), blob, keep.Milliseconds(), r.chunkPrefix(hash), maxVariants)
	if err := r.redis.Do(ctx, call); err != nil {
		return false, err
	}
	n, err := call.Int64()
	return n == 1, err
}

// remove takes an entry out of the index, if it is still the one there.
func (r *redisTier) remove(ctx context.Context, hash keyHash, e *entry) {
	if e.bodyID == "" {
		return
	}
	call := removeScript.Call([]string{r.indexKey(hash)}, e.field(), e.bodyID)
	err := r.redis.Do(ctx, call)
	if err == nil {
		err = call.Err()
	}
	if err != nil {
		r.log.Debug("cache: an entry was not removed from Redis", "error", err)
	}
}
