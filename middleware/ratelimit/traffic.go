package ratelimit

import "math"

// traffic is what an instance knows of the traffic of one key: what it has admitted itself, and
// what all instances have, as sums that decay over a window. The zero traffic knows nothing.
type traffic struct {
	at       int64 // microseconds
	own, all float32
	carry    float32 // of scale: the part of a request that is not charged yet
}

// admitted adds what this instance and the others have admitted by now.
func (t traffic) admitted(q *quota, now, own, others int64) traffic {
	if now > t.at {
		decay := float32(math.Exp(-float64(now-t.at) / float64(q.window)))
		t.own, t.all, t.at = t.own*decay, t.all*decay, now
	}
	t.own += float32(own)
	t.all += float32(own + others)
	return t
}

// scale is what all instances are likely to admit while this one admits cost: each has its part
// of the traffic, and of what is left. It is cost itself where nothing is known of others, and at
// most what a counter can hold.
func (t traffic) scale(cost, most int64) (scaled int64, carry float32) {
	if t.own <= 0 || t.all <= t.own {
		return cost, 0
	}
	exact := float64(cost)*float64(t.all/t.own) + float64(t.carry)
	if exact >= float64(most) {
		return most, 0
	}
	scaled = max(int64(exact), cost)
	return scaled, float32(exact - float64(scaled))
}
