package listener

import "testing"

// A connection yields before each read as long as a good part of its yields finds a request, and else seldom.
func TestYieldsAreMadeWhereTheyFindRequests(t *testing.T) {
	for _, tt := range []struct {
		name        string
		found       func(yield int) bool
		least, most int // yields before a thousand reads, behind the first hundred
	}{
		{"all find one", func(int) bool { return true }, 1000, 1000},
		{"half of them do", func(n int) bool { return n%2 == 0 }, 1000, 1000},
		{"one of ten does", func(n int) bool { return n%10 == 0 }, 1000 / yieldProbe, 150},
		{"none does", func(int) bool { return false }, 1000 / yieldProbe, 1000/yieldProbe + 1},
	} {
		var e eagerness
		yields, counted := 0, 0
		for read := range 1100 {
			if !e.yields() {
				continue
			}
			e.learn(tt.found(yields))
			if yields++; read >= 100 {
				counted++
			}
		}
		if counted < tt.least || counted > tt.most {
			t.Errorf("%s: %d yields before 1000 reads, want %d to %d", tt.name, counted, tt.least, tt.most)
		}
	}
}
