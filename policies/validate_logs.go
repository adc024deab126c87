package policies

import (
	"slices"
	"strings"

	"github.com/headgate/headgate/internal/httpx"
	"github.com/headgate/headgate/internal/mask"
	"github.com/headgate/headgate/middleware/problem"
)

// Validate says what is wrong with what the access log shows and hides.
func (l *AccessLog) Validate() []problem.Problem {
	var ps problem.List
	for i, name := range l.Mask {
		if name == "" {
			ps.Add(problem.Item("mask", i), "write the name of a query parameter, or leave it out", "the name is empty")
		}
	}
	for i, field := range l.Fields.Add {
		path := problem.Item("fields.add", i)
		validateAddedField(&ps, path, field)
		if slices.Contains(l.Fields.Add[:i], field) {
			ps.Add(path, "remove one", "%s is added twice", quote(field))
		}
	}
	if l.Format == AccessLogCombined && len(l.Fields.Add) > 0 {
		ps.Add("fields.add", "write format: json, or remove it", "lines of combined have no place for more fields")
	}
	return ps
}

func validateAddedField(ps *problem.List, path, field string) {
	name, isHeader := strings.CutPrefix(field, "header:")
	switch {
	case field == "trace_id" || field == "span_id":
	case !isHeader || !httpx.IsToken(name):
		ps.Add(path, "write it like header:X-Tenant, trace_id or span_id", "%s is no field that a log can have", quote(field))
	case mask.SecretName(name):
		ps.Add(path, "remove it", "%s may hold a secret, and logs are read by many", quote(name))
	}
}
