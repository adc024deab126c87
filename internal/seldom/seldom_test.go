package seldom

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

func TestALineIsWrittenOnceASecondWithTheNumberOfThoseLeftOut(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	var l Line
	l.last.Store(1 << 62) // as if written just now, however slow the machine is
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { l.Log(t.Context(), log, slog.LevelWarn, "not touched", "ref", "r") })
	}
	wg.Wait()
	if out.Len() != 0 {
		t.Fatalf("within a second of the last line: %s", out.String())
	}
	l.last.Store(0) // more than a second ago
	l.Log(t.Context(), log, slog.LevelWarn, "not touched", "ref", "r")
	if s := out.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "ref=r left_out=50") {
		t.Fatalf("a second later: %s", s)
	}
	l.last.Store(0)
	l.Log(t.Context(), log, slog.LevelWarn, "not touched")
	if s := out.String(); strings.Count(s, "left_out") != 1 || strings.Count(s, "\n") != 2 {
		t.Fatalf("none was left out in between: %s", s)
	}
}

func TestWhatTheLogDoesNotTakeIsNotCounted(t *testing.T) {
	t.Parallel()
	var l Line
	l.Log(t.Context(), slog.New(slog.DiscardHandler), slog.LevelError, "x")
	if l.leftOut.Load() != 0 || l.last.Load() != 0 {
		t.Error("a discarded line counts")
	}
}
