package observe

import "sync"

// series remembers which metric has which labels. To find one by its labels in
// a vector, Prometheus checks, joins and hashes them all over again each time;
// here it is one look into a map, without an allocation. There are as many as
// the vector has, and they stay as long.
type series[K comparable, M any] struct {
	make func(K) M // asks the vector

	mu    sync.RWMutex
	known map[K]M
}

func newSeries[K comparable, M any](make func(K) M) *series[K, M] {
	return &series[K, M]{make: make, known: map[K]M{}}
}

// of returns the metric with these labels.
func (s *series[K, M]) of(labels K) M {
	s.mu.RLock()
	m, ok := s.known[labels]
	s.mu.RUnlock()
	if ok {
		return m
	}
	m = s.make(labels) // twice the same, where two make it at once
	s.mu.Lock()
	s.known[labels] = m
	s.mu.Unlock()
	return m
}
