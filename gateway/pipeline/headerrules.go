package pipeline

import (
	"net/http"

	"github.com/headgate/headgate/policies"
)

// headerRules change headers as a policy says.
type headerRules struct{ policies.HeaderRules }

// newHeaderRules returns nil where there is nothing to change.
func newHeaderRules(p policies.HeaderRules) *headerRules {
	if len(p.Remove)+len(p.Set)+len(p.Add) == 0 {
		return nil
	}
	return &headerRules{p}
}

// apply removes, sets and adds headers, in this order.
func (rules *headerRules) apply(h http.Header) {
	for _, name := range rules.Remove {
		h.Del(name)
	}
	for name, value := range rules.Set {
		h.Set(name, value)
	}
	for name, value := range rules.Add {
		h.Add(name, value)
	}
}
