package jobs_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Work and Close end all background work: nothing may be running when the tests are done.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
