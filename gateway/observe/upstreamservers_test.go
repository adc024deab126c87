package observe

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/headgate/headgate/middleware/proxy"
)

// serverSeries gathers the app servers' series, sorted, without the others.
func serverSeries(t *testing.T, m *Metrics) (all []string) {
	t.Helper()
	families, err := m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "headgate_upstream_server_") {
			continue
		}
		for _, s := range f.GetMetric() {
			text := strings.TrimPrefix(f.GetName(), "headgate_upstream_server_")
			for _, l := range s.GetLabel() {
				text += " " + l.GetValue()
			}
			all = append(all, fmt.Sprint(text, ": ", s.GetGauge().GetValue()+s.GetCounter().GetValue()))
		}
	}
	slices.Sort(all)
	return all
}

// A server's series name its URL and the addresses that it has now, and no other.
func TestSeriesOfAnAddressEndAsItLeaves(t *testing.T) {
	const url = "http://app.test:80"
	servers := []proxy.ServerStatus{
		{URL: url, Address: "192.0.2.1:80", Healthy: true, Requests: 7, Failures: 2, Active: 1},
		{URL: url, Address: "192.0.2.2:80", Requests: 3},
		{URL: "http://192.0.2.9", Healthy: true},
	}
	m := NewMetrics("test")
	m.WatchUpstreams(func() map[string][]proxy.ServerStatus { return map[string][]proxy.ServerStatus{"shop": servers} })
	const first, bare = "192.0.2.1:80 http://app.test:80 shop: ", " http://192.0.2.9 shop: "
	of := func(address string, active, attempts, failures, healthy int) []string {
		return []string{
			fmt.Sprint("active_requests ", address, active), fmt.Sprint("attempts_total ", address, attempts),
			fmt.Sprint("draining ", address, 0), fmt.Sprint("failures_total ", address, failures), fmt.Sprint("healthy ", address, healthy),
		}
	}
	want := slices.Sorted(slices.Values(slices.Concat(of(first, 1, 7, 2, 1), of("192.0.2.2:80 http://app.test:80 shop: ", 0, 3, 0, 0), of(bare, 0, 0, 0, 1))))
	if diff := cmp.Diff(want, serverSeries(t, m)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	servers = slices.Delete(servers, 1, 2)
	want = slices.Sorted(slices.Values(slices.Concat(of(first, 1, 7, 2, 1), of(bare, 0, 0, 0, 1))))
	if diff := cmp.Diff(want, serverSeries(t, m)); diff != "" {
		t.Errorf("once the address has left (-want +got)\n%s", diff)
	}
}
