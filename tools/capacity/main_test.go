package main

import (
	"context"
	"testing"
)

// TestEachRowCanBeMeasured: each row's policy is one, and its requests are answered as it says.
func TestEachRowCanBeMeasured(t *testing.T) {
	t.Parallel()
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			c, err := measure(context.Background(), r, 200)
			if err != nil {
				t.Fatal(err)
			}
			if (c.bytes != "") != r.grows || c.micros <= 0 {
				t.Errorf("%+v", c)
			}
		})
	}
}
