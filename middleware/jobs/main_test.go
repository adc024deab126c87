package jobs_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// Work and Close end all background work: nothing may be running when the tests are done.
func TestMain(m *testing.M) {
	if url := os.Getenv(asWorker); url != "" {
		workUntilKilled(url, os.Getenv(workersApp), os.Getenv(workersReplicas))
	}
	goleak.VerifyTestMain(m)
}
