// Package observe makes what operators see of what the gateway knows about a
// request: the [Record] of each one becomes a line of the access log and counts in the
// metrics of /metrics.
//
// It knows neither pipeline, server nor listener: they fill in a Record and hand it
// over. record.go says which fields there are, logwriter.go how lines are
// written without holding up a request, metrics.go which metrics there are.
package observe
