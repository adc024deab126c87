package policies

import (
	"time"

	"github.com/headgate/headgate/internal/yamlnode"
)

// Where an access log goes that is not a file.
const (
	AccessLogStdout = "stdout"
	AccessLogStderr = "stderr"
	AccessLogOff    = "off"
)

// FormatDuration writes a duration as a policy would: 90s is 1m30s, 168h is 7d.
func FormatDuration(d time.Duration) string { return yamlnode.FormatDuration(d) }
