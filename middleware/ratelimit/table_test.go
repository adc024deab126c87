package ratelimit_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/headgate/headgate/middleware/ratelimit"
)

// TestEachAlgorithmIsOneGoFileOneLuaFileAndOneLine holds the comment of algorithms.go
// true, and the functions of both files to the same names.
func TestEachAlgorithmIsOneGoFileOneLuaFileAndOneLine(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	functions := map[string]string{ // Go's, Lua's
		"at": "look", "fits": "fits", "admit": "admit", "admits": "admits", "left": "left",
		"giveBack": "give_back", "charge": "charge", "expires": "store",
	}
	for _, a := range append([]ratelimit.Algorithm{"concurrent"}, algorithms...) {
		word := string(a)
		code, lua := read(word+".go"), read("lua/"+word+".lua")
		read(word + "_test.go")
		if !strings.Contains(code, ` Algorithm = "`+word+`"`) {
			t.Errorf("%s.go does not have the constant", word)
		}
		if !strings.Contains(lua, "algorithms."+word+" = "+word) {
			t.Errorf("lua/%s.lua does not register its functions", word)
		}
		for inGo, inLua := range functions {
			if !regexp.MustCompile(`func \(s?\s*\w+\) ` + inGo + `\(`).MatchString(code) {
				t.Errorf("%s.go has no %s", word, inGo)
			}
			if !strings.Contains(lua, "function "+word+"."+inLua+"(") {
				t.Errorf("lua/%s.lua has no %s, the twin of %s", word, inLua, inGo)
			}
		}
	}
}
