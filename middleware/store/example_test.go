package store_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/store"
	"github.com/redis/go-redis/v9"
)

// exampleRedis starts a Redis server for an example and connects to it.
func exampleRedis(ctx context.Context) (*store.Redis, func()) {
	server, err := redistest.Launch(ctx)
	if err != nil {
		panic(err)
	}
	r, err := store.Open(store.Options{URL: server.URL, Timeout: 10 * time.Second, KeyPrefix: "shop:"})
	if err != nil {
		panic(err)
	}
	return r, func() {
		_ = r.Close()
		server.Close()
	}
}

// Concurrent callers share round trips; each reads the reply of its own command.
func ExampleRedis_Do() {
	ctx := context.Background()
	r, stop := exampleRedis(ctx) // store.Open(store.Options{URL: "redis://localhost:6379", KeyPrefix: "shop:"})
	defer stop()

	set := redis.NewStatusCmd(ctx, "set", r.Key("greeting"), "hello", "ex", 60)
	get := redis.NewStringCmd(ctx, "get", r.Key("greeting"))
	if err := r.Do(ctx, set, get); errors.Is(err, store.ErrUnavailable) {
		fmt.Println("Redis did not answer in time:", err)
		return
	}
	fmt.Println(r.Key("greeting"), get.Val())
	// Output: shop:greeting hello
}

// The first middleware of a request adds its command to the Batch, the last one
// sends it: both commands cost one round trip.
func ExampleBatch() {
	ctx := context.Background()
	r, stop := exampleRedis(ctx)
	defer stop()
	before := r.RoundTrips()

	batch := r.NewBatch()
	session := redis.NewStringCmd(ctx, "get", r.Key("session", "42"))
	batch.Add(session) // the session middleware

	visits := redis.NewIntCmd(ctx, "incr", r.Key("visits"))
	if err := batch.Send(ctx, visits); err != nil { // the rate limit middleware
		fmt.Println(err)
		return
	}
	fmt.Println("no session:", errors.Is(session.Err(), redis.Nil))
	fmt.Println("visits:", visits.Val())
	fmt.Println("round trips:", r.RoundTrips()-before)
	// Output:
	// no session: true
	// visits: 1
	// round trips: 1
}

// A script that counts runs at most once, also where its reply is lost.
func ExampleScript_Call() {
	ctx := context.Background()
	r, stop := exampleRedis(ctx)
	defer stop()

	add := store.NewScript(`
		local n = redis.call('INCRBY', KEYS[1], ARGV[1])
		redis.call('PEXPIRE', KEYS[1], 60000)
		return n`)
	for range 2 {
		call := add.Call([]string{r.Key("points", "{acme}")}, 5)
		if err := r.Do(ctx, call); err != nil {
			fmt.Println(err)
			return
		}
		points, err := call.Int64()
		fmt.Println(points, err)
	}
	// Output:
	// 5 <nil>
	// 10 <nil>
}
