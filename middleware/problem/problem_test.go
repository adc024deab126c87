package problem_test

import (
	"errors"
	"testing"

	"github.com/headgate/headgate/middleware/problem"
)

func TestProblemsBecomeOneErrorWithPathsAndMends(t *testing.T) {
	t.Parallel()
	var list problem.List
	list.Add("", "name one", "there are no servers")
	list.Warn("tls", "remove it", "no server speaks TLS")
	problem.Between(&list, "retries", 11, 0, 10)
	problem.Positive(&list, "timeout", int64(0))
	err := problem.Error(`upstream "x"`, problem.Within("", list))
	const want = `upstream "x": there are no servers; name one
upstream "x": retries: 11 is out of bounds; choose one from 0 to 10
upstream "x": "timeout" can't be zero; write one above zero`
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	var p problem.Problem
	if !errors.As(err, &p) || p.Mend != "name one" {
		t.Errorf("the first problem is not found in the error: %+v", p)
	}
	if err := problem.Error("x", list[1:2]); err != nil {
		t.Errorf("a warning is an error: %v", err)
	}
}

func TestPathsAreJoinedAndQuoted(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"a":              problem.Join("", "a"),
		"a.b":            problem.Join("a", "b"),
		"a[1]":           problem.Join("a", "[1]"),
		`plans."x.y"`:    problem.Key("plans", "x.y"),
		"servers[2].url": problem.Key(problem.Item("servers", 2), "url"),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	moved := problem.Within("limits.a", []problem.Problem{problem.New("ban.for", "", "x"), problem.New("", "", "{this} is y")})
	if moved[0].Path != "limits.a.ban.for" || moved[1].Text(moved[1].Path) != `"limits.a" is y` {
		t.Errorf("got %+v", moved)
	}
}
