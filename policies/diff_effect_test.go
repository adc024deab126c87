package policies

import (
	"reflect"
	"slices"
	"testing"

	"github.com/headgate/headgate/internal/yamlnode"
	"github.com/headgate/headgate/middleware/ratelimit"
)

// neither lists the keys of limits and routes of which no value lets more through than another.
var neither = []string{
	"algorithm", "key", // of a limit
	"name", "group", "path", "methods", "match", "purge", "redirect", "respond", "host", "upstream", "timeout", "read_timeout", "buffer",
	"ignore_case", "strip_prefix", "rewrite", "request_headers", "response_headers", "preserve_host", "compress", "cors", "maintenance",
}

func TestDiffKnowsWhatEachKeyOfALimitAndARouteLetsThrough(t *testing.T) {
	t.Parallel()
	for _, typ := range []reflect.Type{reflect.TypeFor[ratelimit.Limit](), reflect.TypeFor[ratelimit.Ban](), reflect.TypeFor[Route]()} {
		for _, f := range yamlnode.Fields(typ) {
			judged := judges[f.Type] != nil || slices.ContainsFunc([]string{"loosens", "tightens", "bound", "protects"}, f.Has) || f.Has("off")
			if judged == slices.Contains(neither, f.Name) {
				t.Errorf("%v, the key %s: say in its config tag whether more of it loosens or tightens, or list it here", typ, f.Name)
			}
		}
	}
}
