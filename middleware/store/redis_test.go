package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/internal/redistest"
	"github.com/headgate/headgate/middleware/store"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func open(t testing.TB, o store.Options) *store.Redis {
	t.Helper()
	r, err := store.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func cmd(args ...any) *redis.Cmd { return redis.NewCmd(context.Background(), args...) }

// eventually polls, since breakers and topologies change in the background.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

func TestConcurrentCommandsAllGetTheirOwnReplies(t *testing.T) {
	r := open(t, store.Options{URL: redistest.Start(t).URL, Timeout: 10 * time.Second})
	var wg sync.WaitGroup
	for i := range 500 {
		wg.Go(func() {
			a, b := cmd("echo", i), cmd("get", fmt.Sprint("missing", i))
			if err := r.Do(t.Context(), a, b); err != nil {
				t.Error(err)
				return
			}
			if v, _ := a.Text(); v != fmt.Sprint(i) {
				t.Errorf("echo %d answered %q", i, v)
			}
			if !errors.Is(b.Err(), redis.Nil) {
				t.Errorf("a missing key is %v", b.Err())
			}
		})
	}
	wg.Wait()
}

func TestACommandsOwnErrorIsNotAnOutage(t *testing.T) {
	r := open(t, store.Options{URL: redistest.Start(t).URL, Timeout: 10 * time.Second})
	for range 10 {
		bad, good := cmd("incr"), cmd("ping")
		if err := r.Do(t.Context(), bad, good); err != nil {
			t.Fatal(err)
		}
		if bad.Err() == nil || good.Err() != nil {
			t.Fatalf("bad: %v, good: %v", bad.Err(), good.Err())
		}
	}
	if !r.Available() {
		t.Error("the breaker took a wrong command for an outage")
	}
}

func TestAScriptThatRedisDoesNotKnowRunsOnce(t *testing.T) {
	server := redistest.Start(t)
	r := open(t, store.Options{URL: server.URL, Timeout: 10 * time.Second})
	count := store.NewScript(`return redis.call("incr", KEYS[1])`)
	for i := range 6 {
		if i%2 == 0 {
			server.Client.ScriptFlush(t.Context())
		}
		other, call := cmd("ping"), count.Call([]string{"n"})
		if err := r.Do(t.Context(), other, call); err != nil {
			t.Fatal(err)
		}
		if n, err := call.Int(); err != nil || n != i+1 {
			t.Fatalf("run %d answered %d, %v", i+1, n, err)
		}
	}
}

func TestOneBatchCarriesWhatWasHeld(t *testing.T) {
	server := redistest.Start(t)
	r := open(t, store.Options{URL: server.URL, Timeout: 10 * time.Second})
	batch := r.NewBatch()
	if err := batch.Send(t.Context()); err != nil {
		t.Fatalf("an empty batch: %v", err)
	}
	held, sent := cmd("echo", "held"), cmd("echo", "sent")
	batch.Add(held)
	if !batch.Pending() {
		t.Error("nothing is pending")
	}
	if err := batch.Send(t.Context(), sent); err != nil {
		t.Fatal(err)
	}
	if held.Val() != "held" || sent.Val() != "sent" || batch.Pending() || batch.Err() != nil {
		t.Errorf("held %v, sent %v, pending %v, err %v", held.Val(), sent.Val(), batch.Pending(), batch.Err())
	}
}

func TestADeadRedisFailsAtOnceAndComesBack(t *testing.T) {
	server := redistest.Start(t)
	r := open(t, store.Options{URL: server.URL, Timeout: 200 * time.Millisecond})
	changes := make(chan bool, 10)
	r.OnChange(func(available bool) { changes <- available })

	server.Pause()
	eventually(t, "the breaker opens", func() bool {
		err := r.Do(t.Context(), cmd("ping"))
		if err == nil {
			t.Fatal("a paused Redis answered")
		}
		if !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("not ErrUnavailable: %v", err)
		}
		return !r.Available()
	})
	if <-changes {
		t.Error("the first change says that Redis is available")
	}
	// With the breaker open, nothing waits: ten thousand refusals take less
	// than fifty timeouts would.
	start := time.Now()
	for range 10_000 {
		if err := r.Do(t.Context(), cmd("ping")); !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("ten thousand refusals took %v", took)
	}

	server.Resume()
	if !<-changes {
		t.Error("the second change says that Redis is away")
	}
	if err := r.Do(t.Context(), cmd("ping")); err != nil {
		t.Errorf("after it came back: %v", err)
	}
}

func TestARestartedRedisIsUsedAgain(t *testing.T) {
	server := redistest.Start(t)
	r := open(t, store.Options{URL: server.URL, Timeout: time.Second})
	if err := r.Do(t.Context(), cmd("ping")); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	eventually(t, "the breaker opens", func() bool { _ = r.Do(t.Context(), cmd("ping")); return !r.Available() })
	server.Restart()
	eventually(t, "commands are answered again", func() bool { return r.Do(t.Context(), cmd("ping")) == nil })
}

func TestRedisMayComeAfterTheGateway(t *testing.T) {
	server := redistest.Start(t)
	server.Stop()
	r := open(t, store.Options{URL: server.URL})
	if err := r.Do(t.Context(), cmd("ping")); !errors.Is(err, store.ErrUnavailable) {
		t.Fatal(err)
	}
	server.Restart()
	eventually(t, "commands are answered", func() bool { return r.Do(t.Context(), cmd("ping")) == nil })
}

func TestACallerThatLeavesIsNotWaitedFor(t *testing.T) {
	server := redistest.Start(t)
	r := open(t, store.Options{URL: server.URL, Timeout: time.Minute})
	server.Pause()
	defer server.Resume()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := r.Do(ctx, cmd("ping")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := r.Do(ctx, cmd("ping")); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is over: %v", err)
	}
}

// Redis does not answer while it is paused, so pipelines fill up in front of it. What
// was abandoned in the queue must not be counted when it goes on.
func TestWhatWasAbandonedInTheQueueIsNeverSent(t *testing.T) {
	server := redistest.Start(t)
	r := open(t, store.Options{URL: server.URL, Timeout: time.Minute})
	if err := r.Do(t.Context(), cmd("set", "n", 0)); err != nil {
		t.Fatal(err)
	}
	server.Pause()
	var first, late sync.WaitGroup
	for range 8 { // these leave, and wait for their replies
		first.Go(func() { _ = r.Do(t.Context(), cmd("ping")) })
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.Sleep(50 * time.Millisecond)
	for range 100 {
		late.Go(func() {
			if r.Do(ctx, cmd("incr", "n")) == nil {
				t.Error("answered while Redis was paused")
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	cancel()
	late.Wait()
	server.Resume()
	first.Wait()
	n := cmd("get", "n")
	if err := r.Do(t.Context(), n); err != nil || n.Val() != "0" {
		t.Errorf("n is %v, %v: an abandoned command was sent", n.Val(), err)
	}
}

// forgetful is a server that runs every script and loses the reply: it closes
// the connection instead of answering.
func forgetful(t *testing.T, runs *atomic.Int32) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	serve := func(c net.Conn) {
		defer c.Close()
		in := bufio.NewReader(c)
		for {
			args, err := readCommand(in)
			if err != nil {
				return
			}
			switch strings.ToLower(args[0]) {
			case "evalsha", "eval":
				runs.Add(1)
				return
			case "cluster":
				fmt.Fprintf(c, "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:%s\r\n$2\r\nid\r\n", port)
			case "hello":
				fmt.Fprint(c, "-ERR unknown command\r\n")
			case "command":
				fmt.Fprint(c, "*0\r\n")
			default:
				fmt.Fprint(c, "+OK\r\n")
			}
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l.Addr().String()
}

func readCommand(in *bufio.Reader) ([]string, error) {
	var n int
	if _, err := fmt.Fscanf(in, "*%d\r\n", &n); err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		var size int
		if _, err := fmt.Fscanf(in, "$%d\r\n", &size); err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(in, b); err != nil {
			return nil, err
		}
		args[i] = string(b[:size])
	}
	return args, nil
}

func TestACallIsNotRepeatedAfterALostReply(t *testing.T) {
	for _, scheme := range []string{"redis", "redis+cluster"} {
		t.Run(scheme, func(t *testing.T) {
			var runs atomic.Int32
			r := open(t, store.Options{URL: scheme + "://" + forgetful(t, &runs), Timeout: 3 * time.Second})
			eventually(t, "it answers", func() bool { return r.Do(t.Context(), cmd("ping")) == nil })
			script := store.NewScript(`return redis.call("incr", KEYS[1])`)
			if err := r.Do(t.Context(), cmd("get", "a"), script.Call([]string{"n"})); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("the lost reply is %v", err)
			}
			if n := runs.Load(); n != 1 {
				t.Errorf("the script ran %d times", n)
			}
		})
	}
}

func TestClosedMeansUnavailable(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	server := redistest.Start(t)
	r := open(t, store.Options{URL: server.URL})
	server.Kill() // with the breaker's PING under way
	eventually(t, "the breaker opens", func() bool { _ = r.Do(t.Context(), cmd("ping")); return !r.Available() })
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Do(t.Context(), cmd("ping")); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	server.Close()
}

func TestKeysStartWithThePrefix(t *testing.T) {
	r := open(t, store.Options{URL: "redis://localhost"})
	if k := r.Key("limit", "x"); k != "headgate:limit:x" {
		t.Error(k)
	}
	if _, err := store.Open(store.Options{URL: "redis://localhost", KeyPrefix: "{x}:"}); err == nil {
		t.Error("a prefix that is a hash tag would put all keys in one slot, and is accepted")
	}
}
