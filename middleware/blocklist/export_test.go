package blocklist

import (
	"context"
	"net/netip"
	"testing"
)

// Fill has n permanent blocks of addresses from 10.0.0.0 in force, all at once.
func Fill(l *List, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range n {
		l.blocks[netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)] = &held{end: forever}
	}
	l.rebuild()
}

// Write writes a permanent block to Redis, and waits for no instance.
func Write(t testing.TB, l *List, network string) {
	t.Helper()
	if w, err := l.write(context.Background(), l.addCall(netip.MustParsePrefix(network), "test", "me", 0, "")); err != nil || w.word != "ok" {
		t.Fatal(w, err)
	}
}
