package pipeline

import (
	"net/http"

	"github.com/headgate/headgate/policies"
)

// headerRules change headers as a policy says.
type headerRules struct {
	remove   []string
	set, add []fieldRule
}

// fieldRule is a field and its value, or the template of one.
type fieldRule struct {
	name, value string
	template    policies.Template // without parts: value it is
}

// newHeaderRules returns nil where there is nothing to change.
func newHeaderRules(p policies.HeaderRules) *headerRules {
	if len(p.Remove)+len(p.Set)+len(p.Add) == 0 {
		return nil
	}
	return &headerRules{p.Remove, newFieldRules(p.Set), newFieldRules(p.Add)}
}

func newFieldRules(fields map[string]string) (rules []fieldRule) {
	for name, text := range fields {
		t := policies.ParseTemplate(text)
		if value, literal := t.Literal(); literal {
			rules = append(rules, fieldRule{name: name, value: value})
		} else {
			rules = append(rules, fieldRule{name: name, template: t})
		}
	}
	return rules
}

// valueFor returns the field's value for a request; nil is that of a job, for which no policy has placeholders.
func (f *fieldRule) valueFor(r *Request) string {
	if f.template.Parts == nil || r == nil {
		return f.value
	}
	return r.inHeader(f.template)
}

// apply removes, sets and adds headers, in this order.
func (rules *headerRules) apply(h http.Header, r *Request) {
	for _, name := range rules.remove {
		h.Del(name)
	}
	for i := range rules.set {
		h.Set(rules.set[i].name, rules.set[i].valueFor(r))
	}
	for i := range rules.add {
		h.Add(rules.add[i].name, rules.add[i].valueFor(r))
	}
}
