package policies

import (
	"time"

	"github.com/headgate/headgate/internal/yamlnode"
)

// ParseDuration reads a duration as policies have it: 90s, 1m30s, 12h, 7d. The
// error says what is wrong with the text, without quoting it.
func ParseDuration(s string) (time.Duration, error) { return yamlnode.ParseDuration(s) }
