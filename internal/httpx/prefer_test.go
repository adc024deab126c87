package httpx_test

import (
	"testing"
	"time"

	"github.com/headgate/headgate/internal/httpx"
)

func TestPreferIsReadAsRFC7240Says(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		lines []string
		want  httpx.Preferences
	}{
		{nil, httpx.Preferences{}},
		{[]string{"respond-async"}, httpx.Preferences{RespondAsync: true}},
		{[]string{"Respond-Async"}, httpx.Preferences{RespondAsync: true}},
		{[]string{`respond-async=""`}, httpx.Preferences{RespondAsync: true}}, // section 2: an empty value is none
		{[]string{"respond-async=no"}, httpx.Preferences{}},
		{[]string{"respond-async=no, respond-async"}, httpx.Preferences{}}, // the first counts
		{[]string{"respond-async; x=1"}, httpx.Preferences{RespondAsync: true}},
		{[]string{"respond-asynchronously"}, httpx.Preferences{}},
		{[]string{"return=minimal, respond-async, wait=10"}, httpx.Preferences{RespondAsync: true, Wait: 10 * time.Second, HasWait: true}},
		{[]string{"return=minimal", "wait = 10", "respond-async"}, httpx.Preferences{RespondAsync: true, Wait: 10 * time.Second, HasWait: true}},
		{[]string{`foo="a, respond-async"`}, httpx.Preferences{}},
		{[]string{`foo; bar="wait=3, respond-async;"; x, wait="7"`}, httpx.Preferences{Wait: 7 * time.Second, HasWait: true}},
		{[]string{"wait=0"}, httpx.Preferences{HasWait: true}},
		{[]string{"wait=3, wait=5"}, httpx.Preferences{Wait: 3 * time.Second, HasWait: true}},
		{[]string{"wait=-3"}, httpx.Preferences{}},
		{[]string{"wait=x, wait=5"}, httpx.Preferences{Wait: 5 * time.Second, HasWait: true}},
		{[]string{"wait"}, httpx.Preferences{}},
		{[]string{"wait=99999999999999999999"}, httpx.Preferences{Wait: 999_999_999 * time.Second, HasWait: true}},
	} {
		if got := httpx.ParsePrefer(tc.lines); got != tc.want {
			t.Errorf("%q: %+v, want %+v", tc.lines, got, tc.want)
		}
	}
}
