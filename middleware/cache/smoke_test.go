package cache_test

import "testing"

func TestFreshResponseIsReused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.serves(200, "hello", "Cache-Control: max-age=60")
	first := s.get("/a")
	second := s.get("/a")
	s.expectCalls(1)
	if first.body != "hello" || second.body != "hello" {
		t.Fatalf("bodies %q and %q", first.body, second.body)
	}
	if !second.hit() || second.Header.Get("Age") != "0" {
		t.Fatalf("Cache-Status %q, Age %q", second.cacheStatus(), second.Header.Get("Age"))
	}
	t.Log(first.cacheStatus(), "|", second.cacheStatus(), first.Header, second.Header)
}
