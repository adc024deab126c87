package observe

import (
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/headgate/headgate/middleware/cache"
	"github.com/headgate/headgate/middleware/jobs"
	"github.com/prometheus/client_golang/prometheus"
)

var update = flag.Bool("update", false, "write METRICS.md anew")

const metricsPage = "../METRICS.md"

// TestMetricsPageIsUpToDate: the page lists what /metrics has, all of it, with
// the labels and the help that it has there.
func TestMetricsPageIsUpToDate(t *testing.T) {
	m := NewMetrics("test")
	m.WatchRedis(nil) // which nothing is asked of here
	NewCacheMetrics().Register(m.Registry, func() cache.Stats { return cache.Stats{} })
	NewJobMetrics().Register(m.Registry, func(context.Context) []jobs.Stats { return nil })
	m.WatchCounters(nil)
	m.WatchUpstreams(nil)
	m.WatchConnections(nil)

	described := make(chan *prometheus.Desc)
	go func() {
		m.Registry.Describe(described)
		close(described)
	}()
	var rows []string
	form := regexp.MustCompile(`^Desc\{fqName: "(headgate_\w+)", help: "(.*?)",(?: unit: ".*",)? constLabels: \{.*\}, variableLabels: \{(.*)\}\}$`)
	for d := range described {
		if found := form.FindStringSubmatch(d.String()); found != nil {
			labels := strings.ReplaceAll(found[3], ",", ", ")
			rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |\n", found[1], labels, strings.ReplaceAll(found[2], "|", "\\|")))
		}
	}
	if len(rows) < 25 {
		t.Fatalf("only %d metrics were found", len(rows))
	}
	slices.Sort(rows)
	page := "# Metrics\n\nWhat `/metrics` has at the admin listener, in Prometheus' format, besides Go's and the process' own (`go_*`, `process_*`).\n" +
		"Names that end in `_total` are counters, in `_duration_seconds` histograms, others gauges. No label takes a value that a client chooses,\n" +
		"but for the bounded list of the most denied keys. Made by `go test ./gateway/observe -run MetricsPage -update`.\n\n" +
		"| metric | labels | |\n|---|---|---|\n" + strings.Join(rows, "")
	if *update {
		if err := os.WriteFile(metricsPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	there, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(page, string(there)); diff != "" {
		t.Errorf("METRICS.md is not up to date; run go test ./gateway/observe -run MetricsPage -update\n%s", diff)
	}
}
