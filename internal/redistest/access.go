package redistest

import (
	"net/url"
	"testing"

	"github.com/redis/go-redis/v9"
)

// AsUser returns a server's URL with other credentials.
func AsUser(t testing.TB, raw, user, password string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}

// OneConnection returns what runs commands on a connection that stays, whatever is done
// to the others or to the password. A command that fails ends the test.
func OneConnection(t testing.TB, c *redis.Client) func(args ...any) {
	t.Helper()
	conn := c.Conn()
	t.Cleanup(func() { conn.Close() })
	return func(args ...any) {
		t.Helper()
		if err := conn.Do(t.Context(), args...).Err(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
}
