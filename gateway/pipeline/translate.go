package pipeline

import "time"

// noneIfZero turns a policy's "0 is no bound" into the proxy's.
func noneIfZero(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}
