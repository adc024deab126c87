package yamlnode

import (
	"strings"

	"github.com/headgate/headgate/middleware/problem"
)

// Problems reports what is wrong with the value at a path, each mistake where it stands. What
// could not be decoded was reported already.
func (s *Source) Problems(r *Report, path string, problems []problem.Problem) {
	for _, p := range problems {
		full := problem.Join(path, p.Path)
		at := s.written(full)
		if s.broken[at] {
			continue
		}
		where := s.At(at)
		if p.AtKey {
			where = s.KeyAt(at)
		}
		if p.Warning {
			r.Warnf(where, p.Mend, "%s", p.Text(full))
		} else {
			r.Errorf(where, p.Mend, "%s", p.Text(full))
		}
	}
}

// written is the path at which a value was given: that of x_file where x stands in a file of its own.
func (s *Source) written(path string) string {
	if s.Has(path) {
		return path
	}
	for i := len(path); i > 0; i = strings.LastIndexAny(path[:i], ".[") {
		key, rest := path[:i], path[i:]
		if s.Has(key) {
			break
		}
		if s.Has(key + "_file") {
			return key + "_file" + rest
		}
	}
	return path
}
