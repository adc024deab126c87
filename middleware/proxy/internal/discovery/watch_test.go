package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/headgate/headgate/middleware/proxy/internal/discovery"
	"github.com/headgate/headgate/middleware/proxy/internal/dnstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// steps runs a watch round by round: the watch waits until the test calls next.
type steps struct {
	t       *testing.T
	watch   *discovery.Watch
	resting chan time.Duration // the watch has ended a round, and rests for so long
	wake    chan struct{}

	mu      sync.Mutex
	changes [][]netip.AddrPort
}

const app = "app.test"

// watch starts a watch of app, and returns when its first round has ended.
func watch(t *testing.T, d *dnstest.Server, edit func(*discovery.Options)) *steps {
	t.Helper()
	s := &steps{t: t, resting: make(chan time.Duration), wake: make(chan struct{})}
	o := discovery.Options{
		Host: app, Port: 80, Resolver: d.Resolver(), Logger: slog.New(slog.DiscardHandler), Timeout: time.Minute,
		Connect: func(context.Context, netip.AddrPort) error { return nil },
		Changed: func(list []netip.AddrPort) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.changes = append(s.changes, list)
		},
		Wait: func(ctx context.Context, d time.Duration) error {
			for _, c := range []func() bool{
				func() bool {
					select {
					case s.resting <- d:
						return true
					case <-ctx.Done():
						return false
					}
				},
				func() bool {
					select {
					case <-s.wake:
						return true
					case <-ctx.Done():
						return false
					}
				},
			} {
				if !c() {
					return ctx.Err()
				}
			}
			return nil
		},
	}
	if edit != nil {
		edit(&o)
	}
	s.watch = discovery.Start(o)
	t.Cleanup(s.watch.Close)
	<-s.resting
	return s
}

// next runs one round, and returns the pause that follows it.
func (s *steps) next() time.Duration {
	s.wake <- struct{}{}
	return <-s.resting
}

// want fails the test unless these are the addresses.
func (s *steps) want(addresses ...string) {
	s.t.Helper()
	var got []string
	for _, a := range s.watch.Addresses() {
		got = append(got, a.Addr().String())
	}
	if !slices.Equal(got, addresses) {
		s.t.Fatalf("the addresses are %v, want %v", got, addresses)
	}
}

func (s *steps) reported() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.changes)
}

func TestChangesAreReportedWholeAndSorted(t *testing.T) {
	t.Parallel()
	d := dnstest.New(t)
	d.Set(dnstest.Addrs("10.0.0.3", "10.0.0.1"), dnstest.Empty)
	s := watch(t, d, nil)
	s.want("10.0.0.1", "10.0.0.3")
	s.next()
	d.Set(dnstest.Addrs("10.0.0.1", "10.0.0.3"), dnstest.Empty)
	s.next()
	if n := s.reported(); n != 1 {
		t.Fatalf("%d changes were reported, want 1: the order of the answer is no change", n)
	}
	d.Set(dnstest.Addrs("10.0.0.3", "10.0.0.2", "10.0.0.1", "10.0.0.2"), dnstest.Empty)
	s.next()
	want := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:80"), netip.MustParseAddrPort("10.0.0.2:80"), netip.MustParseAddrPort("10.0.0.3:80")}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.changes) != 2 || !slices.Equal(s.changes[1], want) {
		t.Fatalf("reported: %v, want %v at last", s.changes, want)
	}
}

func TestWhatIsMissingTwiceIsRemoved(t *testing.T) {
	t.Parallel()
	d := dnstest.New(t)
	d.Set(dnstest.Addrs("10.0.0.1", "10.0.0.2"), dnstest.Empty)
	s := watch(t, d, nil)
	d.Set(dnstest.Addrs("10.0.0.2"), dnstest.Empty)
	s.next()
	s.want("10.0.0.1", "10.0.0.2")
	d.Set(dnstest.Addrs("10.0.0.1"), dnstest.Empty) // one is back, the other missing for the first time
	s.next()
	s.want("10.0.0.1", "10.0.0.2")
	d.Set(dnstest.Addrs("10.0.0.2"), dnstest.Empty)
	s.next()
	s.want("10.0.0.1", "10.0.0.2")
	s.next()
	s.want("10.0.0.2")
	d.Set(dnstest.Addrs("10.0.0.9"), dnstest.Empty) // the app moves
	s.next()
	s.want("10.0.0.2", "10.0.0.9")
	s.next()
	s.want("10.0.0.9")
}

func TestTheLastGoodAnswerStays(t *testing.T) {
	t.Parallel()
	zeros := dnstest.Addrs("0.0.0.0", "224.0.0.1")
	for name, bad := range map[string]dnstest.Reply{"SERVFAIL": dnstest.ServFail, "NXDOMAIN": dnstest.NXDomain, "silence": dnstest.Silent, "empty": dnstest.Empty, "no unicast address": zeros} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := dnstest.New(t)
			d.Set(dnstest.Addrs("10.0.0.1", "10.0.0.2"), bad)
			s := watch(t, d, func(o *discovery.Options) { o.Resolver = d.Impatient() })
			s.want("10.0.0.1", "10.0.0.2")
			d.Set(bad, bad)
			for range 5 {
				s.next()
				s.want("10.0.0.1", "10.0.0.2")
			}
			// The failures count as no answer that the address is missing from.
			d.Set(dnstest.Addrs("10.0.0.2"), dnstest.Empty)
			s.next()
			s.want("10.0.0.1", "10.0.0.2")
			s.next()
			s.want("10.0.0.2")
			if n := s.reported(); n != 2 {
				t.Fatalf("%d changes were reported, want 2", n)
			}
		})
	}
}

func TestUnknownUntilTheFirstGoodAnswer(t *testing.T) {
	t.Parallel()
	d := dnstest.New(t)
	d.Set(dnstest.ServFail, dnstest.ServFail)
	s := watch(t, d, nil)
	<-s.watch.Asked() // the name has been asked for, and the answer was an error
	s.want()
	d.Set(dnstest.Addrs("10.0.0.1"), dnstest.Empty)
	s.next()
	s.want("10.0.0.1")
}

func TestALookupThatNeverEndsDelaysNothing(t *testing.T) {
	t.Parallel()
	d := dnstest.New(t)
	d.Set(dnstest.Silent, dnstest.Silent)
	w := discovery.Start(discovery.Options{Host: app, Port: 80, Resolver: d.Resolver(), Logger: slog.New(slog.DiscardHandler), Timeout: time.Hour})
	if got := w.Addresses(); got != nil {
		t.Fatalf("the addresses are %v before any answer", got)
	}
	w.Close() // returns though the lookup goes on; TestMain looks for what is left
}

func TestOneRoundIsOneQuery(t *testing.T) {
	t.Parallel()
	d := dnstest.New(t)
	d.Set(dnstest.Addrs("10.0.0.1"), dnstest.Empty)
	s := watch(t, d, nil)
	for range 10 {
		for range 5 {
			s.watch.Addresses()
		}
		s.next()
	}
	if a, aaaa := d.Questions(app, "A"), d.Questions(app, "AAAA"); a != 11 || aaaa != 1 {
		t.Fatalf("11 rounds asked for A %d times and for AAAA %d times, want 11 and 1", a, aaaa)
	}
}

func TestThePauseVariesByATenth(t *testing.T) {
	t.Parallel()
	d := dnstest.New(t)
	d.Set(dnstest.Addrs("10.0.0.1"), dnstest.Empty)
	next := 0.0
	s := watch(t, d, func(o *discovery.Options) {
		o.Interval = 10 * time.Second
		o.Random = func() float64 { return next }
	})
	for random, want := range map[float64]time.Duration{0: 9 * time.Second, 0.5: 10 * time.Second, 1: 11 * time.Second} {
		next = random // the watch rests: it reads it in the round that next starts
		if got := s.next().Round(time.Millisecond); got != want {
			t.Errorf("random %v makes a pause of %s, want %s", random, got, want)
		}
	}
}

func TestManyAddresses(t *testing.T) {
	t.Parallel()
	d := dnstest.New(t)
	var many []string
	for i := range 300 {
		many = append(many, fmt.Sprintf("10.0.%d.%d", i/250, i%250))
	}
	d.Set(dnstest.Addrs(many[40:]...), dnstest.Empty)
	s := watch(t, d, nil)
	before := s.watch.Addresses()
	if len(before) != discovery.MaxAddresses {
		t.Fatalf("%d addresses, want %d", len(before), discovery.MaxAddresses)
	}
	if d.Truncated() == 0 {
		t.Fatal("the answer fits into a UDP packet: the test tests less than it should")
	}
	d.Set(dnstest.Addrs(many...), dnstest.Empty) // the new ones sort before the old
	s.next()
	s.next()
	if after := s.watch.Addresses(); !slices.Equal(before, after) {
		t.Fatalf("with more addresses than are used, those in use changed:\n%v\n%v", before, after)
	}
}

func TestOneFamily(t *testing.T) {
	t.Parallel()
	const four, six = "10.0.0.1", "2001:db8::1"
	for _, c := range []struct {
		name     string
		host     string
		a, aaaa  dnstest.Reply
		connects string // the address that accepts connections; empty: none
		want     []string
	}{
		{"both connect", app, dnstest.Addrs(four), dnstest.Addrs(six), four + six, []string{six}},
		{"IPv4 connects", app, dnstest.Addrs(four), dnstest.Addrs(six), four, []string{four}},
		{"IPv6 connects", app, dnstest.Addrs(four), dnstest.Addrs(six), six, []string{six}},
		{"localhost, both connect", "app.localhost", dnstest.Addrs(four), dnstest.Addrs(six), four + six, []string{four}},
		{"localhost, IPv6 connects", "app.localhost", dnstest.Addrs(four), dnstest.Addrs(six), six, []string{six}},
		{"localhost, none connects", "app.localhost", dnstest.Addrs(four), dnstest.Addrs(six), "", []string{four}},
		{"IPv4 alone", app, dnstest.Addrs(four), dnstest.Empty, "", []string{four}},
		{"IPv6 alone", app, dnstest.Empty, dnstest.Addrs(six), "", []string{six}},
		{"AAAA fails", app, dnstest.Addrs(four), dnstest.ServFail, "", []string{four}},
		{"A fails", app, dnstest.ServFail, dnstest.Addrs(six), "", []string{six}},
		{"one of several connects", app, dnstest.Addrs(four), dnstest.Addrs("2001:db8::2", "2001:db8::3", six), six, []string{six, "2001:db8::2", "2001:db8::3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := dnstest.New(t)
			d.Set(c.a, c.aaaa)
			s := watch(t, d, func(o *discovery.Options) { o.Host, o.Connect = c.host, accepting(&c.connects) })
			s.want(c.want...)
		})
	}
}

// accepting connects to the one or two addresses that are written one behind the other.
func accepting(which *string) func(context.Context, netip.AddrPort) error {
	return func(_ context.Context, to netip.AddrPort) error {
		if s := to.Addr().String(); *which == s || len(*which) > len(s) && ((*which)[:len(s)] == s || (*which)[len(*which)-len(s):] == s) {
			return nil
		}
		return errors.New("connection refused")
	}
}

func TestTheFamilyStaysAndMoves(t *testing.T) {
	t.Parallel()
	const four, six = "10.0.0.1", "2001:db8::1"
	d := dnstest.New(t)
	d.Set(dnstest.Addrs(four), dnstest.Addrs(six))
	connects := ""
	s := watch(t, d, func(o *discovery.Options) { o.Connect = accepting(&connects) })
	s.want(six) // none connects yet: the choice is made again

	connects = four
	s.next()
	s.want(four)
	connects = four + six
	s.next()
	s.want(four)
	s.watch.Recheck()
	s.next()
	s.want(four) // it still connects
	connects = six
	s.next()
	s.want(four) // no request has failed: there is nothing to look at
	s.watch.Recheck()
	s.next()
	s.want(six)

	d.Set(dnstest.Addrs(four), dnstest.ServFail)
	s.next()
	s.want(six)
	s.watch.Recheck()
	s.next()
	s.want(six) // AAAA failed; that A did not is no reason to move
	d.Set(dnstest.Addrs(four), dnstest.Empty)
	s.next() // the Recheck above is still due
	s.want(four)

	d.Set(dnstest.Empty, dnstest.Addrs(six))
	s.next()
	s.want(four)
	s.next()
	s.want(six) // the second answer in a row without an address of IPv4
}

func TestCloseEndsAChangeUnderWay(t *testing.T) {
	t.Parallel()
	d := dnstest.New(t)
	d.Set(dnstest.Addrs("10.0.0.1"), dnstest.Empty)
	inside, leave, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	w := discovery.Start(discovery.Options{Host: app, Port: 80, Resolver: d.Resolver(), Logger: slog.New(slog.DiscardHandler),
		Changed: func([]netip.AddrPort) { close(inside); <-leave }})
	<-inside
	<-w.Asked() // Changed does not delay it
	w.Stop()
	go func() { w.Close(); close(closed) }()
	select {
	case <-closed:
		t.Fatal("Close returned while Changed ran")
	default:
	}
	close(leave)
	<-closed
}

func TestIsName(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"app": true, "app.test.": true, "localhost": true, "127.0.0.1": false, "::1": false, "fe80::1%eth0": false, "": false,
	} {
		if got := discovery.IsName(host); got != want {
			t.Errorf("IsName(%q) is %v", host, got)
		}
	}
}
