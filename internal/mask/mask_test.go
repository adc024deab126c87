package mask_test

import (
	"testing"

	"github.com/headgate/headgate/internal/mask"
)

func TestPasswordsInURLsAreMaskedInEveryForm(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"":                                  "",
		"redis://localhost":                 "redis://localhost",
		"redis://:pw@h:6379/0":              "redis://:***@h:6379/0",
		"redis://pw@h":                      "redis://***@h",
		"redis://u:p:w@h":                   "redis://u:***@h",
		"redis://u:p@w@h":                   "redis://u:***@h",
		"redis+cluster://u:pw@a:1,b:2":      "redis+cluster://u:***@a:1,b:2",
		"rediss://h?Password=x&db=1&%zz=pw": "rediss://h?Password=***&db=1&%zz=***",
		"no url, maybe a password":          "***",
	} {
		if got := mask.URL(url); got != want {
			t.Errorf("%s is shown as %s, want %s", url, got, want)
		}
	}
}
